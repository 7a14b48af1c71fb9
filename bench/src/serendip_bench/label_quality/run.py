"""``serendip bench label-quality``: gain of search against the quality of what an LLM writes.

In a made world (``SearchWorld``) it is known which item every search asks for. A scripted LLM
(``ScriptedLlm``) stands for one of a stated precision, the share of its answers that are right:

it labels as many relevant as irrelevant items of each query through the task, prompt and ledger of
``serendip llm run labels``. The ranker learns search from these labels and orders the candidates;
the gate is that of ``serendip judge distil``, with right labels of other queries.

It is compared with the same engine without them, whose sources are fused by rank, on queries that
neither has seen, by nDCG@10 with all items of the need as relevant ones.

Shapes: Q queries.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.query import TASKS, Query
from serendip.data.splits import temporal
from serendip.engine.config.settings import Settings
from serendip.engine.stages.pipeline import run
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.metrics import NDCG, grade
from serendip.evaluate.runs import Values
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.labels.agreement import gate_labels
from serendip.jobs.labels.pair_files import Pair, write_rows
from serendip.jobs.llm.labels import COLUMNS, build_questions
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.labels import INNER_FRACTION
from serendip.jobs.train.ranker.requests import label_judged, read_judged_files
from serendip.jobs.train.ranker.rows import label_candidates
from serendip.llm.client import LlmRequest, ScriptedLlm
from serendip.llm.ledger import Ledger
from serendip.llm.runner import RunOptions, ask_all
from serendip.llm.tasks import Judgement, Task
from serendip.models.ranker.model import Ranker
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import TrainOptions
from serendip_bench.label_quality.world import SearchWorld
from serendip_bench.results import open_work_folder

PRECISIONS = (0.50, 0.63, 0.83, 0.90)
FLOOR = 0.6
"""Lowest kappa of the gate of labels, the default of ``serendip judge distil``."""

METRIC = NDCG(10)
NUM_LABELLED, NUM_GOLD, NUM_HELD_OUT = 100, 60, 120
"""Queries with labels by the LLM, with right labels for the gate, and that the gain is measured
on."""
PER_KIND, DEPTH = 5, 60
"""Labelled items of a query that are relevant, and that are not; among so many first ones."""
PROMPT = "judge-1"
SEARCH = TASKS.index("search")

SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title"]

[context]
use = "off"

[models.retriever]
embedding_size = 16
search_size = 16
epochs = 6
batch_size = 64
max_len = 8
"""
"""Searches of a world have no context, so none of its parts is chosen, and none is learned from."""


@dataclass(frozen=True, slots=True)
class LabelQualityBench:
    """Settings of a run.

    Args:
        file: the results.
        seeds: number of worlds, each with a training of its own.
        world: size of each.
    """

    file: Path
    seeds: int = 3
    world: SearchWorld = field(default_factory=SearchWorld)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What a gate said of one precision and seed.

    Args:
        passed: whether it was used.
        detail: lower end of the interval of kappa.
    """

    passed: bool
    detail: float


def run_label_quality(bench: LabelQualityBench, options: TrainOptions) -> dict[str, Any]:
    """Measure all precisions; write the results and draw the figure after every seed."""
    document: dict[str, Any] = {}
    measured: dict[float, list[tuple[Values, Values, GateVerdict]]] = {}
    with open_work_folder(bench.file) as work:
        for seed in range(bench.seeds):
            folder = work / f"world-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            trial = Trial.of(replace(bench.world, seed=seed), folder, replace(options, seed=seed))
            for precision in PRECISIONS:
                with options.progress.step(f"labels of precision {precision}, seed {seed}"):
                    measured.setdefault(precision, []).append(trial.labels(precision))
            rows = [_summarise(precision, values) for precision, values in measured.items()]
            document = {"metric": METRIC.label, "seeds": seed + 1, "floor": FLOOR, "rows": rows}
            write_json(bench.file, document)
    return document


def _summarise(
    precision: float, measured: Sequence[tuple[Values, Values, GateVerdict]]
) -> dict[str, Any]:
    """Gain over all queries of all seeds, and the verdicts."""
    gained, plain = (np.concatenate([one[column] for one in measured]) for column in (0, 1))
    difference = compare_values(("with", "without", METRIC.label), gained, plain)
    return {
        "precision": precision,
        "without": float(plain.mean()),
        "with": float(gained.mean()),
        "gain": difference.difference,
        "ci95": [difference.low, difference.high],
        "queries": len(gained),
        "gate": [one[2].passed for one in measured],
        "gate_detail": [round(one[2].detail, 4) for one in measured],
    }


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One world with its workspace, and an engine that was fitted on the older events.

    Args:
        world: that made the files.
        context: the workspace.
        fitter: of engines.
        state: without anything that an LLM wrote.
        options: seed of trainings.
    """

    world: SearchWorld
    context: JobContext
    fitter: Fitter
    state: EngineState
    options: TrainOptions

    @classmethod
    def of(cls, world: SearchWorld, folder: Path, options: TrainOptions) -> Trial:
        """Write the files of a world, import them and fit the engine."""
        world.write_files(folder)
        (folder / "serendip.toml").write_text(SETTINGS, encoding="utf-8")
        import_files(Workspace.open(folder))
        context = JobContext.open(folder, options)
        fitter = Fitter(context, folder / "scratch")
        return cls(world, context, fitter, _fit(fitter, context, options), options)

    def labels(self, precision: float) -> tuple[Values, Values, GateVerdict]:
        """nDCG@10 (Q,) with a ranker that learned from labels, and without; the gate's verdict."""
        asked = self.world.held_out_queries(NUM_LABELLED + NUM_GOLD + NUM_HELD_OUT)
        held_out = asked[-NUM_HELD_OUT:]
        labels = self.context.workspace.folder / f"labels-{precision}.csv"
        self._ask(self._select_pairs(asked[:NUM_LABELLED]), precision, labels)
        ranked, verdict = replace(self.state, ranker=self._learn(labels)), self.gate(precision)
        return self._measure(held_out, ranked), self._measure(held_out, self.state), verdict

    def gate(self, precision: float) -> GateVerdict:
        """What the gate of labels says, by right labels of other queries."""
        gold = self.world.held_out_queries(NUM_LABELLED + NUM_GOLD)[NUM_LABELLED:]
        folder, pairs = self.context.workspace.folder, self._select_pairs(gold)
        right, checked = folder / "gold.csv", folder / "checked.csv"
        self._ask(pairs, precision, checked)
        write_rows(right, COLUMNS[:3], [(*pair, self._is_good(*pair)) for pair in pairs])
        found = gate_labels(checked, right, FLOOR)
        return GateVerdict(found.on, found.low or 0.0)

    def _measure(self, asked: Sequence[tuple[str, int]], state: EngineState) -> Values:
        """nDCG@10 (Q,) of search."""
        lists = _search(self._queries([text for text, _ in asked]), self.context.settings, state)
        values = []
        for (_, need), items in zip(asked, lists, strict=True):
            gains: dict[Hashable, float] = dict.fromkeys(self.world.items_of(need), 1.0)
            ids = state.catalogue.vocabulary.ids_of(items)
            values.append(METRIC.of_list(grade(ids, gains)))
        return np.array(values)

    def _queries(self, texts: Sequence[str]) -> list[Query]:
        vectors = self.fitter.encode_texts(texts, self.state.fusion)
        return [
            Query("search", text=text, text_vector=vector)
            for text, vector in zip(texts, vectors, strict=True)
        ]

    def _select_pairs(self, asked: Sequence[tuple[str, int]]) -> list[Pair]:
        """The first items of each list that are relevant, and as many that are not."""
        lists = _search(
            self._queries([text for text, _ in asked]), self.context.settings, self.state
        )
        pairs: list[Pair] = []
        for (text, need), items in zip(asked, lists, strict=True):
            ids = self.state.catalogue.vocabulary.ids_of(items[:DEPTH])
            wanted = set(self.world.items_of(need))
            good = [item for item in ids if item in wanted][:PER_KIND]
            bad = [item for item in ids if item not in wanted][: len(good)]
            pairs += [(text, item) for item in (*good, *bad)]
        return pairs

    def _is_good(self, text: str, item_id: str) -> Literal["good", "bad"]:
        wanted = self.world.items_of(self.world.need_asked(text))
        return "good" if item_id in wanted else "bad"

    def _ask(self, pairs: Sequence[Pair], precision: float, out: Path) -> None:
        """Labels of pairs by a scripted LLM, as ``serendip llm run labels`` writes them."""
        llm = ScriptedLlm(Labeller(self.world, precision), f"scripted-{precision}")
        questions = build_questions(self.context.workspace, pairs)
        with closing(Ledger.open(out.with_suffix(".db"))) as ledger:
            found = ask_all(
                Task.of(Judgement, PROMPT), questions, llm, ledger, RunOptions(out.stem)
            )
        rows = [
            (*pair, label.label, label.confidence, "llm", llm.model, PROMPT)
            for pair, label in zip(pairs, found.answers, strict=True)
            if label is not None
        ]
        write_rows(out, COLUMNS, rows)

    def _learn(self, labels: Path) -> Ranker:
        """A ranker of search alone that learned from a file of labels."""
        judged = read_judged_files([labels], self.state.catalogue.vocabulary)
        vectors = self.fitter.encode_texts(list(judged), self.state.fusion)
        labelled, settings = label_judged(judged, vectors), self.context.settings
        random = np.random.default_rng(self.options.seed)
        rows = label_candidates(labelled, "search", self.state, settings, 0).sample(
            labelled, random
        )
        names = self.state.feature_names
        return Ranker(settings.ranker).train(rows, names, self.options, [SEARCH])


def _fit(fitter: Fitter, context: JobContext, options: TrainOptions) -> EngineState:
    """An engine of the older events, without a ranker."""
    shutil.rmtree(fitter.scratch, ignore_errors=True)
    split = temporal(context.log.dataset, INNER_FRACTION)
    state = fitter.fit_sources(split.train, "engine", options)
    return fitter.append_new_items(state, split)


def _search(queries: Sequence[Query], settings: Settings, state: EngineState) -> list[Any]:
    """Item numbers of the lists, best first."""
    surface = settings.all_surfaces()["search"]
    return [result.items.item_nums for result in run(queries, surface, state)]


@dataclass(frozen=True, slots=True)
class Labeller:
    """The script of an LLM whose labels are right with a given probability.

    Which ones are wrong depends on the pair alone, so that a better labeller is right wherever a
    worse one is.

    Args:
        world: that knows what is right.
        precision: share of right labels.
    """

    world: SearchWorld
    precision: float

    def __call__(self, request: LlmRequest) -> str:
        """The answer to a request of the task ``judge``."""
        data = json.loads(request.user.split("<data>")[1].split("</data>")[0])
        query, title = str(data["query"]), str(data["item"]["title"])
        is_good = self.world.need_of(int(title.split()[-1])) == self.world.need_asked(query)
        draw = np.random.default_rng([self.world.seed, zlib.crc32(f"{query}|{title}".encode())])
        is_right = draw.random() < self.precision
        label = "good" if is_good == is_right else "bad"
        return json.dumps({"id": data["id"], "label": label, "confidence": self.precision})
