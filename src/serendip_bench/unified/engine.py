"""The rows ``engine`` and ``lightgbm``: all sources of the engine, put in order by one ranker.

Both rankers order the same candidates by the same features, so they are asked in one pass. Neither
has seen a test target; the retriever is that of the row ``unified``, of the same seed. Where search
is validated by written queries, the engine's ranker may not order it (``jobs.train.ranker_data``):
there ``engine`` is what the sources give by rank; ``lightgbm`` learned from written queries.

The honest baseline of the ranker: boosted trees (LambdaMART by lightgbm) on the same rows.

What is served never needs lightgbm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.engine.state import EngineState
from serendip.evaluate.runs import Values
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, peak_memory_mb
from serendip_bench.costs import read_costs
from serendip_bench.datasets.registry import dataset_of
from serendip_bench.sequential.rows import MODEL_FOLDER, prepare_folder
from serendip_bench.splits import RequestSet
from serendip_bench.unified.engine_candidates import (
    CANDIDATES,
    FEATURES,
    HELD_OUT,
    LEARNED,
    NEGATIVES,
    SETTINGS,
    Orderer,
    engine_facts,
    engine_state,
    held_out,
    learning_rows,
    listed_ranks,
    ranks_of,
)
from serendip_bench.unified.rows import (
    UnifiedTask,
    catalogue_of,
    figures,
    judged_share,
    make_unified,
    question,
    ranks_path,
    relevance_file,
    task_of,
    values_of,
)
from serendip_bench.unified.tasks import UnifiedSplit

TREES: dict[str, Any] = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [10],
    "lambdarank_truncation_level": 20,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
}
"""Parameters of lightgbm that differ from its defaults."""

ROUNDS, PATIENCE, VALIDATION_SHARE = 300, 20, 0.1
"""Most trees; trees without a better nDCG@10 before it stops; share of requests that says so."""


def trees_facts() -> dict[str, Any]:
    """What decides the trees, for digests."""
    return {**TREES, "rounds": ROUNDS, "patience": PATIENCE, "validation_share": VALIDATION_SHARE}


class Trees:
    """Values of candidates by boosted trees.

    Args:
        rows: of whole requests, one after the other; labels of one action.
        seed: which requests stop the training.
    """

    def __init__(self, rows: RankerRows, seed: int) -> None:
        import lightgbm

        groups = np.unique(rows.group)
        stopping = np.random.default_rng(seed).choice(
            groups, int(VALIDATION_SHARE * len(groups)), replace=False
        )
        stops = np.isin(rows.group, stopping)
        learned = _dataset(rows, ~stops)
        callbacks, judged = [], []
        if stops.any():
            callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
            judged = [_dataset(rows, stops, learned)]
        execution = {
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        self._booster = lightgbm.train(
            {**TREES, **execution}, learned, ROUNDS, judged, callbacks=callbacks
        )

    @property
    def num_parameters(self) -> int:
        """Numbers that it consists of: a threshold for each split, a value for each leaf."""
        trees = self._booster.dump_model()["tree_info"][: self._booster.best_iteration or None]
        return sum(2 * int(tree["num_leaves"]) - 1 for tree in trees)

    def __call__(self, features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
        """Values (R,) of features (R, F) and tasks (R,), whatever the other rows are."""
        if not len(features):
            return np.empty(0, np.float32)
        values = self._booster.predict(_matrix(features, task), num_threads=1)
        return np.asarray(values, np.float32)


def _dataset(rows: RankerRows, mask: NDArray[np.bool_], like: Any = None) -> Any:
    import lightgbm

    sizes = np.unique(rows.group[mask], return_counts=True)[1]
    return lightgbm.Dataset(
        _matrix(rows.features[mask], rows.task[mask]),
        rows.labels[mask, 0],
        group=sizes,
        reference=like,
    )


def _matrix(features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
    """(R, F + 1): the task is one more feature."""
    return np.column_stack([features, task]).astype(np.float32)


_SOURCES = "sources"


def make_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """The rows of any line of the table."""
    return _make_engine(task) if task.line.asks == "engine" else make_unified(task)


def rankers_facts() -> list[Any]:
    """What decides the rows of the engine beside the retriever, for digests."""
    sampled = {"learned": LEARNED, "negatives": NEGATIVES, "held_out_steps": HELD_OUT}
    return [engine_facts(), FEATURES, sampled, trees_facts()]


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Ranks (T,), values (U, 3) of validation, CPU-seconds of answering."""

    ranks: Values
    valid: Values
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _BenchEngine:
    """The engine of a benchmark, ready to be asked.

    Args:
        task: whose rows are made.
        state: without a ranker.
        orderers: model -> what orders candidates.
        costs: model -> what it took.
        ordered: tasks that the engine's own ranker may order; in others what the sources propose
            is fused by rank, as it is served.
    """

    task: UnifiedTask
    state: EngineState
    orderers: Mapping[str, Orderer]
    costs: Mapping[str, dict[str, Any]]
    ordered: tuple[str, ...]

    def answers(
        self, name: str, asked: RequestSet, judged: RequestSet
    ) -> Iterator[tuple[dict[str, Any], _Measured]]:
        """Key of a row, ranks of ``asked`` and of ``judged``, and what they took, by model."""
        clock = StageClock()
        ranks, valid = self._ranks(name, asked, clock), self._ranks(name, judged, StageClock())
        for key in self.task.keys:
            if question(key) == name:
                model = str(key["model"])
                shared = model in self.orderers and self._is_ordered(name, model)
                seconds = _seconds(clock, model) + shared * _seconds(clock, CANDIDATES)
                values = values_of(valid[model], judged.relevance)
                yield key, _Measured(ranks[model], values, seconds)

    def row(self, key: dict[str, Any], asked: RequestSet, measured: _Measured) -> dict[str, Any]:
        """A row of the results; leaves the ranks."""
        path = ranks_path(Path(self.task.folder).parent, key)
        path.parent.mkdir(exist_ok=True)
        np.save(path, measured.ranks, allow_pickle=False)
        if asked.relevance is not None:
            asked.relevance.save(path.parent / relevance_file(question(key)))
        return {
            **key,
            **figures(values_of(measured.ranks, asked.relevance), measured.valid),
            **judged_share(measured.ranks, asked.relevance),
            "score_cpu_s": round(measured.seconds, 3),
            "peak_mb": round(peak_memory_mb(), 1),
            **self.costs[str(key["model"])],
        }

    def _is_ordered(self, name: str, model: str) -> bool:
        return task_of(name) in self.ordered or model != self.task.line.model

    def _ranks(self, name: str, asked: RequestSet, clock: StageClock) -> dict[str, Values]:
        """Model -> ranks (T,); stages ``candidates``, which orderers share, and of each model."""
        surface, own = SETTINGS.all_surfaces()[task_of(name)], self.task.line.model
        orderers = {one: by for one, by in self.orderers.items() if self._is_ordered(name, one)}
        ranks = ranks_of(surface, asked, self.state, orderers, clock) if orderers else {}
        if own not in ranks:
            with clock.stage(own):
                ranks[own] = listed_ranks(surface, asked, self.state)
        return ranks


def _make_engine(task: UnifiedTask) -> list[dict[str, Any]]:
    data = Path(task.data)
    form = dataset_of(data)
    trial = form.trial(data, np.load(task.words, allow_pickle=False))
    prepare_folder(Path(task.folder), task.digest)
    validation: dict[str, RequestSet] = {}
    for name, asked in trial.validation.items():
        # Of a task's sets the first: the whole one, or that all are validated by the same requests.
        validation.setdefault(task_of(name), asked)
    learned, judged = held_out(validation, task.seed)
    ordered = [one for one in task.line.answers if one != "search" or form.logs_searches]
    with tempfile.TemporaryDirectory() as scratch:
        engine = _fitted(task, trial, learned if ordered else {}, ordered, Path(scratch) / "words")
        return [
            engine.row(key, trial.tests[name], measured)
            for name in dict.fromkeys(map(question, task.keys))
            for key, measured in engine.answers(name, trial.tests[name], judged[task_of(name)])
        ]


def _fitted(
    task: UnifiedTask,
    trial: UnifiedSplit,
    learned: Mapping[str, RequestSet],
    ordered: Sequence[str],
    scratch: Path,
) -> _BenchEngine:
    """Sources, and rankers that have learned an order from requests by task, if there are any."""
    retriever = Retriever.open(Path(task.asked) / MODEL_FOLDER)
    content, clock = np.load(task.content, allow_pickle=False), StageClock()
    with clock.stage(_SOURCES):
        catalogue = catalogue_of(task, trial)
        state = engine_state(trial.sequences, content, catalogue, retriever, task.seed, scratch)
    orderers: dict[str, Orderer] = {}
    sizes = {task.line.model: 0}
    if learned:
        with clock.stage(_SOURCES):
            rows = learning_rows(learned, SETTINGS.all_surfaces(), state, task.seed)
        orderers, sizes = _trained(task, rows, clock)
    known, _ = read_costs(Path(task.asked))
    costs = {
        name: {
            "cpu_s": round(known + _seconds(clock, _SOURCES) + _seconds(clock, name), 3),
            "params": retriever.num_parameters + size,
        }
        for name, size in sizes.items()
    }
    return _BenchEngine(task, state, orderers, costs, tuple(ordered))


def _trained(
    task: UnifiedTask, rows: RankerRows, clock: StageClock
) -> tuple[dict[str, Orderer], dict[str, int]]:
    """Model -> what orders its candidates, and how many numbers that has; a stage for each."""
    orderers: dict[str, Orderer] = {}
    sizes: dict[str, int] = {}
    with clock.stage(task.line.model):
        ranker = Ranker(SETTINGS.ranker).train(rows, FEATURES, TrainOptions(task.seed))
    orderers[task.line.model] = lambda features, tasks: ranker.predict(features, tasks)[:, 0]
    sizes[task.line.model] = ranker.num_parameters
    for name in task.line.beside:
        with clock.stage(name):
            trees = Trees(rows, task.seed)
        orderers[name], sizes[name] = trees, trees.num_parameters
    return orderers, sizes


def _seconds(clock: StageClock, name: str) -> float:
    return sum(stage.cpu_s for stage in clock.stages if stage.name == name)
