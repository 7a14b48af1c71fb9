"""``serendip llm improve``: all that an LLM can do for a workspace, at one price, each step gated.

========== ==============================================================================
controls   questions whose answers are known; an LLM that fails them is asked nothing else
queries    searches written for items; those that find their item become suggestions, and the
           ranker learns from all
filter     labels of what search shows, a relevance model, and a threshold
attributes values for items that lack one
texts      words for items that have few
========== ==============================================================================

What passes its gate is trained in the end, and lists before and after are compared; what does not
leaves everything as it was. If the training itself is refused, all steps are taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from serendip.data.items.catalogue import Catalogue
from serendip.data.store.tables.generated import Generated, Kind, lacks
from serendip.engine.engine import Engine
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import ConfigError, DataError, GateError
from serendip.evaluate.decision import DECISIONS, Decision, read_table
from serendip.evaluate.labelled_slates import LabelErrors
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import check_labels, gate_labels
from serendip.jobs.labels.draw_lists import draw_typed_lists, make_controls
from serendip.jobs.labels.pair_files import read_labels, write_lists, write_rows
from serendip.jobs.llm.attributes import ask_values
from serendip.jobs.llm.gates import (
    MIN_COMPARED,
    MIN_QUERIES,
    gate_queries,
    gate_texts,
    gate_values,
)
from serendip.jobs.llm.job import LlmJob, Writing, write
from serendip.jobs.llm.judged_queries import cut_time, read_held_out_queries
from serendip.jobs.llm.labels import ask_labels
from serendip.jobs.llm.queries import ask_queries
from serendip.jobs.llm.texts import ask_texts, read_original
from serendip.jobs.relevance.decisions import filtered_surfaces, reason_against_proof
from serendip.jobs.relevance.distil import distil
from serendip.jobs.relevance.model import DistilledModel
from serendip.jobs.train.train import train_workspace
from serendip.llm.ledger import Ledger

JOB = "improve"
FOLDER = "llm"
"""Folder of the workspace with the lists and labels."""

CONTROLS = 60
_PROMPT = "judge-1"
LEAST_KAPPA = 0.6
_EXAMPLES = 5
_LABELS = ("query", "item_id", "label")


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did.

    Args:
        gate: whether it is kept; otherwise all is as it was before.
        cost: of what it wrote, in the currency of the prices.
    """

    name: str
    wrote: str
    gate: Decision
    changes: Sequence[str] = ()
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step would ask: questions without an answer in the ledger, at an expected price."""

    name: str
    questions: int
    price: float


@dataclass(frozen=True, slots=True)
class Improvement:
    """Limits of a run.

    Args:
        agrees: shown the plan; whether to go on.
        lists: that are labelled: as many as the interval of what a filter hides needs.
        items: that queries are written for, at most.
    """

    budget: float
    agrees: Callable[[Sequence[StepPlan]], bool]
    on_step: Callable[[StepResult], None] = lambda step: None
    lists: int = 160
    items: int = 300


@dataclass(frozen=True, slots=True)
class ImprovementReport:
    """What a run did.

    Args:
        steps: results; none if nobody agreed to the plan.
        generation: that serves what was kept; empty = nothing was trained.
    """

    plan: Sequence[StepPlan]
    steps: Sequence[StepResult] = ()
    spent: float = 0.0
    generation: str = ""


def improve(context: JobContext, improvement: Improvement) -> ImprovementReport:
    """Estimate all steps, ask, run them, train, and compare the lists.

    Raises:
        ConfigError: no LLM is configured, its prices are missing, or the budget is no number of at
            least 0.
        NotTrainedError: nothing is published.
        StorageError: the ledger cannot be written, or another process runs this job.
    """
    if not improvement.budget >= 0:
        raise ConfigError(f"the budget is {improvement.budget}.", "Give a budget of 0 or more.")
    with context.workspace.open_store() as store:
        rows = store.generated.active()
    spent = _read_spent(context)
    chain = _Chain(context, improvement, rows, spent)
    plan = list(chain.plan())
    if not improvement.agrees(plan):
        return ImprovementReport(plan)
    results: list[StepResult] = []
    for result in chain.run():
        cost = _read_spent(context) - spent - sum(earlier.cost for earlier in results)
        results.append(replace(result, cost=cost))
        improvement.on_step(results[-1])
    generation = ""
    if any(result.gate.on for result in results[1:]):
        generation, served = chain.train()
        results.append(served)
        improvement.on_step(served)
    return ImprovementReport(plan, results, _read_spent(context) - spent, generation)


def _read_spent(context: JobContext) -> float:
    with Ledger.open(context.workspace.database) as ledger:
        return ledger.spent(JOB)


Done: TypeAlias = Mapping[str, Any]
"""What ``write`` says of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What is asked, and what becomes of it."""

    name: str
    ask: Callable[[], Writing[Any]]
    judge: Callable[[Done], StepResult]


@dataclass(frozen=True, eq=False)
class _Chain:
    """The steps of one run.

    Args:
        rows_before: what was in use before this run.
        before: text -> ids of its first results before.
        written: texts by an LLM whose lists are labelled, whether or not they are kept.
        distilled: the relevance model of the labels, if it passed its gate.
    """

    context: JobContext
    improvement: Improvement
    rows_before: Sequence[Generated]
    spent_before: float
    before: dict[str, list[str]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    distilled: dict[str, DistilledModel] = field(default_factory=dict)

    def steps(self) -> Iterator[_Step]:
        context = self.context
        yield _Step("control questions", self._ask_controls, self._judge_controls)
        most = self.improvement.items
        yield _Step("queries", lambda: ask_queries(context, most), self._judge_queries)
        yield _Step("filter", self._ask_lists, self._judge_filter)
        for name in self._attributes():
            ask, judge = partial(ask_values, context, name), partial(self._judge_values, name)
            yield _Step(f"attribute {name}", ask, judge)
        yield _Step("texts", lambda: ask_texts(context), self._judge_texts)

    def plan(self) -> Iterator[StepPlan]:
        # Nothing is sent.
        self.written[:] = [row.value for row in self.rows_before if row.kind == "query"]
        for step in self.steps():
            writing = step.ask()
            cost, more = self._write(writing, estimate_only=True)["estimate"], 1.0
            if step.name == "filter":  # The queries that are to be written will have lists, too.
                lists = {question["query"] for question in writing.questions}
                more = self.improvement.lists / max(1, len(lists))
            count = cost["questions"] - cost["known"]
            yield StepPlan(step.name, round(count * more), cost["price"] * more)

    def run(self) -> Iterator[StepResult]:
        for step in self.steps():
            result = step.judge(self._write(step.ask()))
            yield result
            if step.name == "control questions" and not result.gate.on:
                return

    def _write(self, writing: Writing[Any], estimate_only: bool = False) -> Done:
        budget = self.spent_before + self.improvement.budget  # of all runs, as the ledger counts
        return write(self.context, writing, LlmJob(JOB, budget, estimate_only))

    @cached_property
    def folder(self) -> Path:
        folder = self.context.workspace.folder / FOLDER
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def catalogue(self) -> Catalogue:
        return read_original(self.context).catalogue

    def _ask_controls(self) -> Writing[Any]:
        pairs = make_controls(self.context, CONTROLS).items()
        rows = [(*pair, "bad" if is_irrelevant else "good") for pair, is_irrelevant in pairs]
        write_rows(self.folder / "controls.csv", _LABELS, rows)
        return self._ask_labels("controls.csv", "controls-labels.csv")

    def _ask_labels(self, pairs: str, out: str) -> Writing[Any]:
        return ask_labels(self.context, self.folder / pairs, self.folder / out, _PROMPT)

    def _judge_controls(self, done: Done) -> StepResult:
        gate = gate_labels(Path(done["out"]), self.folder / "controls.csv", LEAST_KAPPA)
        if not gate.on:
            gate = replace(gate, reason=f"{gate.reason}; this LLM is asked nothing else")
        return StepResult("control questions", f"{done['written']:,} labels", gate)

    def _judge_queries(self, done: Done) -> StepResult:
        self.written[:] = done["queries"]
        wrote = f"{done['written']:,} queries"
        try:
            result = gate_queries(self.context)
        except DataError as error:  # None was written.
            return StepResult("queries", wrote, Decision("queries", False, reason=error.message))
        shown = f"{result.facts['found']:,} more suggested queries: {'; '.join(result.examples)}"
        return self._close(StepResult("queries", wrote, result.decision, [shown]), "query")

    def _ask_lists(self) -> Writing[Any]:
        """Draw the lists that are labelled, and keep what is shown now."""
        with Engine.open(self.context.workspace.folder) as engine:
            lists = draw_typed_lists(self.context, engine, self.written, self.improvement.lists)
            self.before.update(_show_lists(engine, [request.text for request, _ in lists]))
        titles = {item.item_id: item.title for item in self.catalogue.items}
        write_lists(self.folder / "lists.csv", TYPED_TEXTS, lists, titles)
        return self._ask_labels("lists.csv", "labels.csv")

    def _judge_filter(self, done: Done) -> StepResult:
        out, wrote = Path(done["out"]), f"{done['written']:,} labels, {done['bad']:,} bad"
        gate = check_labels(self.context, self.catalogue, read_labels(out))
        if not gate.on:
            return StepResult("filter", wrote, gate)
        name, lists = "fall of the irrelevant share", self.folder / "lists.csv"
        try:
            errors = self._count_errors()
            found, model = distil(self.context, out, None, lists=lists, errors=errors)
        except DataError as error:
            return StepResult("filter", wrote, Decision(name, False, reason=error.message))
        self.distilled.update(model)
        return StepResult("filter", wrote, *_judge_filter(name, found["filter"]))

    def _count_errors(self) -> LabelErrors:
        known, told = (
            read_labels(self.folder / name) for name in ("controls.csv", "controls-labels.csv")
        )
        counts = [0, 0, 0, 0]
        for pair in known.keys() & told.keys():
            counts[2 * known[pair]] += 1
            counts[2 * known[pair] + 1] += known[pair] != told[pair]
        return LabelErrors(*counts)

    def _attributes(self) -> Iterator[str]:
        """Attributes of one text that some items lack, and enough have to compare."""
        items = self.catalogue.items
        for name in self.catalogue.attribute_names:
            having = [item for item in items if not lacks(item, name)]
            texts = [item.attributes[name] for item in having]
            are_texts = all(isinstance(text, str) for text in texts)
            is_shared = are_texts and 2 * len(set(texts)) <= len(having)
            if is_shared and 2 * MIN_COMPARED <= len(having) < len(items):
                yield name

    def _judge_values(self, name: str, done: Done) -> StepResult:
        result = gate_values(self.context, name)
        changes = [f"{result.active:,} items can be found and filtered by {name}"]
        wrote = f"{done['written']:,} values"
        step = StepResult(f"attribute {name}", wrote, result.decision, changes)
        return self._close(step, "value", name)

    def _judge_texts(self, done: Done) -> StepResult:
        wrote, dataset = f"{done['written']:,} texts", self.context.dataset
        is_logged = len(read_held_out_queries(dataset, cut_time(dataset))) >= MIN_QUERIES
        judged = None if is_logged else self.folder / "labels.csv"
        may_test = judged is None or (
            judged.is_file() and check_labels(self.context, self.catalogue, read_labels(judged)).on
        )
        if not done["written"] or not may_test:
            reason = "there are no texts, or neither logged nor labelled queries to test them by"
            return StepResult("texts", wrote, Decision("texts", False, reason=reason))
        result = gate_texts(self.context, judged, is_pooled=not is_logged)
        changes = [f"{result.facts['items']:,} items are found by more words"]
        return self._close(StepResult("texts", wrote, result.decision, changes), "text")

    def train(self) -> tuple[str, StepResult]:
        # A training that is refused takes it back.
        workspace = self.context.workspace
        try:
            context = JobContext.open(workspace.folder, self.context.options)
            generation = train_workspace(context, rebuild=True, distilled=self.distilled)
        except GateError as error:
            self._restore()
            gate = Decision("training", False, reason=error.message)
            return "", StepResult("training", "", gate, ["everything is taken back"])
        with Engine.open(workspace.folder) as engine:
            after = _show_lists(engine, self.before)
        filtered = filtered_surfaces(read_table(generation.manifest[DECISIONS]))
        changes = [
            f"filtered surfaces: {', '.join(filtered) or 'none'}",
            *_compare_lists(self.before, after, self.catalogue),
        ]
        gate = Decision("training", True, reason="it passed its gates")
        return generation.name, StepResult("training", generation.name, gate, changes)

    def _close(self, step: StepResult, kind: Kind, name: str | None = None) -> StepResult:
        if step.gate.on:
            return step
        self._restore(kind, name)
        return replace(step, changes=())

    def _restore(self, kind: Kind | None = None, name: str | None = None) -> None:
        rows = [
            row for row in self.rows_before if kind in (None, row.kind) and name in (None, row.name)
        ]
        with self.context.workspace.open_store() as store:
            store.generated.activate(rows, kind, name)


def _judge_filter(name: str, found: Mapping[str, Any]) -> tuple[Decision, list[str]]:
    """The decision about a threshold, and what it does to the first positions."""
    against, effect = reason_against_proof(found), cast("dict[str, Any]", found["safe"])
    if effect is None:
        return Decision(name, False, reason=against), []
    low, high = effect["ci95"]["fall"]
    reason = against or f"of what it hides {effect['wrong']:.1%} is relevant"
    gate = Decision(name, not against, effect["fall"], low, high, found["lists"], reason)
    share = f"{effect['irrelevant_before']:.1%} -> {effect['irrelevant_after']:.1%}"
    return gate, [
        f"irrelevant in the first {found['places']} of searches not learned from: {share}"
    ]


def _show_lists(engine: Engine, texts: Iterable[str]) -> dict[str, list[str]]:
    return {text: [item.item_id for item in engine.search(text).items] for text in texts}


def _compare_lists(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]], catalogue: Catalogue
) -> Iterator[str]:
    titles = {item.item_id: item.title for item in catalogue.items}
    changed = [text for text, shown in after.items() if shown != before[text]]
    yield f"{len(changed):,} of {len(after):,} first pages of search are others, such as"
    for text in changed[:_EXAMPLES]:
        gone = [titles.get(item, item) for item in before[text] if item not in after[text]]
        come = [titles.get(item, item) for item in after[text] if item not in before[text]]
        yield f"{text}: without {'; '.join(gone) or 'any'}; with {'; '.join(come) or 'none else'}"
