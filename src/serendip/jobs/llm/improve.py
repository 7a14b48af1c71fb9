"""``serendip llm improve``: all that an LLM can do for a workspace, at one price, each step gated.

========== ==============================================================================
controls   questions whose answers are known; an LLM that fails them is asked nothing else
queries    searches written for items; those that find their item become suggestions, and the
           ranker learns from all
filter     labels of what search shows, a relevance model, and a threshold
attributes values for items that lack one
texts      words for items with hardly any
========== ==============================================================================

What passes its gate is trained in the end, and lists before and after are compared; what does not
leaves everything as it was. If the training itself is refused, all steps are taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from serendip.data import Catalogue
from serendip.data.store.tables.generated import Kind, lacks
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
from serendip.jobs.llm.gates import MIN_COMPARED, gate_queries, gate_texts, gate_values
from serendip.jobs.llm.job import Writing, read_original, write
from serendip.jobs.llm.labels import ask_labels
from serendip.jobs.llm.search_words import ask_queries, ask_texts
from serendip.jobs.relevance.decisions import filtered_surfaces, reason_against_proof
from serendip.jobs.relevance.distil import distil
from serendip.jobs.relevance.versions import model_versions, restore_version
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


Done: TypeAlias = Mapping[str, Any]
"""What ``write`` says of a step."""

_Step: TypeAlias = tuple[str, Callable[[], Writing[Any]], Callable[[Done], StepResult]]
"""A name, what is asked, and what becomes of it."""


class Improvement:
    """One run: ``plan`` what it would ask, then ``run`` it.

    Args:
        lists: that are labelled: as many as the interval of what a filter hides needs.
        items: that queries are written for, at most.

    Raises:
        ConfigError: the budget is no number of at least 0.
        StorageError: the database cannot be read.
    """

    def __init__(
        self, context: JobContext, budget: float, lists: int = 160, items: int = 300
    ) -> None:
        if not budget >= 0:
            raise ConfigError(f"the budget is {budget}.", "Give a budget of 0 or more.")
        self.generation = ""  # that serves what was kept; empty = nothing was trained
        self._context, self._budget, self._lists, self._items = context, budget, lists, items
        with context.workspace.open_store() as store:
            self._rows_before = store.generated.active()
        self._model_before = model_versions(context.workspace.relevance).current_name()
        self._spent_before = self._read_ledger()
        self._pages_before = dict[str, list[str]]()  # text -> ids of its first results
        self._labels: Path | None = None  # that agree with words and meaning
        self._written = [row.value for row in self._rows_before if row.kind == "query"]

    @property
    def spent(self) -> float:
        """What this run has spent so far."""
        return self._read_ledger() - self._spent_before

    def _read_ledger(self) -> float:
        with Ledger.open(self._context.workspace.database) as ledger:
            return ledger.spent(JOB)

    def plan(self) -> Iterator[StepPlan]:
        """Yield what each step would ask; nothing is sent.

        Raises:
            ConfigError: no LLM is configured, or its prices are missing.
            NotTrainedError: nothing is published.
            StorageError: the ledger cannot be written, or another process runs this job.
        """
        for name, ask, _ in self._steps():
            writing = ask()
            cost, more = self._write(writing, estimate_only=True)["estimate"], 1.0
            if name == "filter":  # The queries that are to be written will have lists, too.
                lists = {question["query"] for question in writing.questions}
                more = self._lists / max(1, len(lists))
            count = cost["questions"] - cost["known"]
            yield StepPlan(name, round(count * more), cost["price"] * more)

    def run(self, is_trained: bool = True) -> Iterator[StepResult]:
        """Yield what each step did, and the training if anything passed; raises as ``plan``."""
        spent, passed = 0.0, False
        for name, ask, judge in self._steps():
            result = judge(self._write(ask()))
            result = replace(result, cost=self.spent - spent)
            spent += result.cost
            yield result
            if name != "control questions":
                passed |= result.gate.on
            elif not result.gate.on:
                return
        if is_trained and passed:
            yield self._train()

    def _steps(self) -> Iterator[_Step]:
        yield "control questions", self._ask_controls, self._judge_controls
        yield "queries", partial(ask_queries, self._context, self._items), self._judge_queries
        yield "filter", self._ask_lists, self._judge_filter
        for name in self._attributes():
            ask = partial(ask_values, self._context, name)
            yield f"attribute {name}", ask, partial(self._judge_values, name)
        yield "texts", partial(ask_texts, self._context), self._judge_texts

    def _write(self, writing: Writing[Any], estimate_only: bool = False) -> Done:
        budget = self._spent_before + self._budget  # of all runs, as the ledger counts
        return write(self._context, writing, JOB, budget, estimate_only)

    @cached_property
    def _folder(self) -> Path:
        folder = self._context.workspace.folder / FOLDER
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def _catalogue(self) -> Catalogue:
        return read_original(self._context).catalogue

    @cached_property
    def _titles(self) -> Mapping[str, str]:
        return {item.item_id: item.title for item in self._catalogue.items}

    def _ask_controls(self) -> Writing[Any]:
        pairs = make_controls(self._context, CONTROLS).items()
        rows = [(*pair, "bad" if is_irrelevant else "good") for pair, is_irrelevant in pairs]
        write_rows(self._folder / "controls.csv", _LABELS, rows)
        return self._ask_labels("controls.csv", "controls-labels.csv")

    def _ask_labels(self, pairs: str, out: str) -> Writing[Any]:
        return ask_labels(self._context, self._folder / pairs, self._folder / out, _PROMPT)

    def _judge_controls(self, done: Done) -> StepResult:
        gate = gate_labels(Path(done["out"]), self._folder / "controls.csv", LEAST_KAPPA)
        if not gate.on:
            gate = replace(gate, reason=f"{gate.reason}; this LLM is asked nothing else")
        return StepResult("control questions", f"{done['written']:,} labels", gate)

    def _judge_queries(self, done: Done) -> StepResult:
        self._written[:] = done["queries"]
        wrote = f"{done['written']:,} queries"
        try:
            result = gate_queries(self._context)
        except DataError as error:  # None was written.
            return StepResult("queries", wrote, Decision("queries", False, reason=error.message))
        shown = f"{result.facts['found']:,} more suggested queries: {'; '.join(result.examples)}"
        return self._close(StepResult("queries", wrote, result.decision, [shown]), "query")

    def _ask_lists(self) -> Writing[Any]:
        with Engine.open(self._context.workspace.folder) as engine:
            lists = draw_typed_lists(self._context, engine, self._written, self._lists)
            self._pages_before |= _show_pages(engine, [request.text for request, _ in lists])
        write_lists(self._folder / "lists.csv", TYPED_TEXTS, lists, self._titles)
        return self._ask_labels("lists.csv", "labels.csv")

    def _judge_filter(self, done: Done) -> StepResult:
        out, wrote = Path(done["out"]), f"{done['written']:,} labels, {done['bad']:,} bad"
        gate = check_labels(self._context, self._catalogue, read_labels(out))
        if not gate.on:
            return StepResult("filter", wrote, gate)
        self._labels = out
        name, lists = "fall of the irrelevant share", self._folder / "lists.csv"
        try:
            distilled = distil(self._context, out, None, lists=lists, errors=self._count_errors())
        except DataError as error:
            return StepResult("filter", wrote, Decision(name, False, reason=error.message))
        found = distilled["filter"]
        against, effect = reason_against_proof(found), cast("dict[str, Any]", found["safe"])
        if effect is None:
            return StepResult("filter", wrote, Decision(name, False, reason=against))
        low, high = effect["ci95"]["fall"]
        reason = against or f"of what it hides {effect['wrong']:.1%} is relevant"
        gate = Decision(name, not against, effect["fall"], low, high, found["lists"], reason)
        share = f"{effect['irrelevant_before']:.1%} -> {effect['irrelevant_after']:.1%}"
        change = f"irrelevant in the first {found['places']} of searches not learned from: {share}"
        return StepResult("filter", wrote, gate, [change])

    def _count_errors(self) -> LabelErrors:
        known, told = (
            read_labels(self._folder / name) for name in ("controls.csv", "controls-labels.csv")
        )
        counts = [0, 0, 0, 0]
        for pair in known.keys() & told.keys():
            counts[2 * known[pair]] += 1
            counts[2 * known[pair] + 1] += known[pair] != told[pair]
        return LabelErrors(*counts)

    def _attributes(self) -> Iterator[str]:
        """Attributes of one text that some items lack, and enough have to compare."""
        items = self._catalogue.items
        for name in self._catalogue.attribute_names:
            having = [item for item in items if not lacks(item, name)]
            texts = [item.attributes[name] for item in having]
            are_texts = all(isinstance(text, str) for text in texts)
            is_shared = are_texts and 2 * len(set(texts)) <= len(having)
            if is_shared and 2 * MIN_COMPARED <= len(having) < len(items):
                yield name

    def _judge_values(self, name: str, done: Done) -> StepResult:
        result = gate_values(self._context, name)
        changes = [f"{result.active:,} items can be found and filtered by {name}"]
        wrote = f"{done['written']:,} values"
        step = StepResult(f"attribute {name}", wrote, result.decision, changes)
        return self._close(step, "value", name)

    def _judge_texts(self, done: Done) -> StepResult:
        wrote = f"{done['written']:,} texts"
        try:
            result = gate_texts(self._context)
            if result.decision.verdict == "refused" and self._labels is not None:
                result = gate_texts(self._context, self._labels, is_pooled=True)
        except DataError as error:  # None was written, or no label is good.
            return StepResult("texts", wrote, Decision("texts", False, reason=error.message))
        changes = [f"{result.facts['items']:,} items are found by more words"]
        return self._close(StepResult("texts", wrote, result.decision, changes), "text")

    def _train(self) -> StepResult:
        workspace = self._context.workspace
        try:
            generation = train_workspace(JobContext.open(workspace.folder, self._context.options))
        except GateError as error:
            if model_versions(workspace.relevance).current_name() != self._model_before:
                restore_version(workspace.relevance, self._model_before)
            self._restore()
            gate = Decision("training", False, reason=error.message)
            return StepResult("training", "", gate, ["everything is taken back"])
        self.generation = generation.name
        with Engine.open(workspace.folder) as engine:
            pages = _show_pages(engine, self._pages_before)
        filtered = filtered_surfaces(read_table(generation.manifest[DECISIONS]))
        changes = [f"filtered surfaces: {', '.join(filtered) or 'none'}", *self._compare(pages)]
        gate = Decision("training", True, reason="it passed its gates")
        return StepResult("training", generation.name, gate, changes)

    def _compare(self, pages: Mapping[str, Sequence[str]]) -> Iterator[str]:
        before, titles = self._pages_before, self._titles
        changed = [text for text, shown in pages.items() if shown != before[text]]
        yield f"{len(changed):,} of {len(pages):,} first pages of search are others, such as"
        for text in changed[:_EXAMPLES]:
            gone = [titles.get(one, one) for one in before[text] if one not in pages[text]]
            come = [titles.get(one, one) for one in pages[text] if one not in before[text]]
            come_with = f"with {'; '.join(come) or 'none else'}"
            yield f"{text}: without {'; '.join(gone) or 'any'}; {come_with}"

    def _close(self, step: StepResult, kind: Kind, name: str | None = None) -> StepResult:
        if step.gate.on:
            return step
        self._restore(kind, name)
        return replace(step, changes=())

    def _restore(self, kind: Kind | None = None, name: str | None = None) -> None:
        """What was in use before this run is so again, of a kind and name or of all."""
        rows = [
            row
            for row in self._rows_before
            if kind in (None, row.kind) and name in (None, row.name)
        ]
        with self._context.workspace.open_store() as store:
            store.generated.activate(rows, kind, name)


def _show_pages(engine: Engine, texts: Iterable[str]) -> dict[str, list[str]]:
    return {text: [item.item_id for item in engine.search(text).items] for text in texts}
