"""The rows ``engine`` and ``lightgbm``: all sources of the engine, ordered by a ranker.

``lightgbm`` is the baseline of the engine's ranker: LambdaMART trees trained on the same rows. Both
order the same candidates by the same features, in one pass, and neither is trained on test targets.
The retriever is that of the row ``unified`` with the same seed. If validation queries of search are
synthetic, the engine's ranker does not order search (``jobs.train.search_order_choice``): there
``engine`` fuses the sources by rank, while ``lightgbm`` is trained on the synthetic queries.

Serving never needs lightgbm.

Shapes: T rows of requests, R rows (request, candidate), F features, U users.
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
from serendip_bench.datasets.registry import detect_dataset
from serendip_bench.sequential.rows import MODEL_FOLDER, prepare_folder
from serendip_bench.splits import RequestSet
from serendip_bench.unified.engine_candidates import (
    CANDIDATES,
    FEATURES,
    HELD_OUT_SHARE,
    MAX_TRAINING_REQUESTS,
    NEGATIVES,
    SETTINGS,
    RankerFunction,
    build_engine_state,
    build_training_rows,
    describe_engine,
    rank_listed_targets,
    rank_targets,
    split_requests,
)
from serendip_bench.unified.rows import (
    UnifiedTask,
    compute_judged_share,
    compute_values,
    get_ranks_path,
    get_relevance_file,
    name_request_set,
    parse_task,
    renumber_catalogue,
    summarise_values,
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
"""Maximum number of trees, early-stopping patience, share of requests for early stopping."""


def describe_trees() -> dict[str, Any]:
    """Settings that determine the trees, for digests."""
    return {**TREES, "rounds": ROUNDS, "patience": PATIENCE, "validation_share": VALIDATION_SHARE}


class Trees:
    """Ranker by boosted trees.

    Args:
        rows: grouped by request; labels of one action.
        seed: of the requests for early stopping.
    """

    def __init__(self, rows: RankerRows, seed: int) -> None:
        import lightgbm

        groups = np.unique(rows.group)
        stopping_groups = np.random.default_rng(seed).choice(
            groups, int(VALIDATION_SHARE * len(groups)), replace=False
        )
        is_stopping = np.isin(rows.group, stopping_groups)
        training = _build_dataset(rows, ~is_stopping)
        callbacks, valid_sets = [], []
        if is_stopping.any():
            callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
            valid_sets = [_build_dataset(rows, is_stopping, training)]
        execution = {
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        self._booster = lightgbm.train(
            {**TREES, **execution}, training, ROUNDS, valid_sets, callbacks=callbacks
        )

    @property
    def num_parameters(self) -> int:
        """Number of parameters: a threshold per split, a value per leaf."""
        trees = self._booster.dump_model()["tree_info"][: self._booster.best_iteration or None]
        return sum(2 * int(tree["num_leaves"]) - 1 for tree in trees)

    def __call__(self, features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
        """Values (R,) of features (R, F) and tasks (R,); rows are independent."""
        if not len(features):
            return np.empty(0, np.float32)
        values = self._booster.predict(_stack_features(features, task), num_threads=1)
        return np.asarray(values, np.float32)


def _build_dataset(rows: RankerRows, mask: NDArray[np.bool_], like: Any = None) -> Any:
    import lightgbm

    sizes = np.unique(rows.group[mask], return_counts=True)[1]
    return lightgbm.Dataset(
        _stack_features(rows.features[mask], rows.task[mask]),
        rows.labels[mask, 0],
        group=sizes,
        reference=like,
    )


def _stack_features(features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
    """(R, F + 1) features and the task."""
    return np.column_stack([features, task]).astype(np.float32)


SOURCES = "sources"
"""Stage of the training of the sources."""


def describe_rankers() -> list[Any]:
    """Settings, beside the retriever, that determine the rows of the engine, for digests."""
    sampled = {
        "learned": MAX_TRAINING_REQUESTS,
        "negatives": NEGATIVES,
        "held_out_steps": HELD_OUT_SHARE,
    }
    return [describe_engine(), FEATURES, sampled, describe_trees()]


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Test ranks (T,), validation values (U, 3), CPU seconds of the requests."""

    ranks: Values
    valid: Values
    seconds: float


def build_row(
    task: UnifiedTask,
    key: Mapping[str, Any],
    requests: RequestSet,
    measurement: Measurement,
    costs: Mapping[str, Any],
) -> dict[str, Any]:
    """A row of the results; its ranks are saved.

    Args:
        task: of the rows.
        key: of the row.
        requests: that were ranked.
        measurement: of the model.
        costs: cost fields of the model.
    """
    path = get_ranks_path(Path(task.folder).parent, key)
    path.parent.mkdir(exist_ok=True)
    np.save(path, measurement.ranks, allow_pickle=False)
    if requests.relevance is not None:
        requests.relevance.save(path.parent / get_relevance_file(name_request_set(key)))
    return {
        **key,
        **summarise_values(
            compute_values(measurement.ranks, requests.relevance), measurement.valid
        ),
        **compute_judged_share(measurement.ranks, requests.relevance),
        "score_cpu_s": round(measurement.seconds, 3),
        "peak_mb": round(peak_memory_mb(), 1),
        **costs,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _BenchEngine:
    """A trained engine with its rankers.

    Args:
        task: of the rows.
        state: without a ranker.
        rankers: model -> ranker.
        costs: model -> cost fields of its rows.
        ranked_tasks: tasks that the engine's own ranker orders; in others the sources are fused by
            rank, as in serving.
    """

    task: UnifiedTask
    state: EngineState
    rankers: Mapping[str, RankerFunction]
    costs: Mapping[str, dict[str, Any]]
    ranked_tasks: tuple[str, ...]

    def measure(
        self, name: str, tests: RequestSet, validation: RequestSet
    ) -> Iterator[tuple[dict[str, Any], Measurement]]:
        """Keys of the rows of a request set with their measurements.

        Args:
            name: of the request set.
            tests: test requests.
            validation: requests that evaluate the rankers.
        """
        clock = StageClock()
        ranks, valid_ranks = (
            self._rank(name, tests, clock),
            self._rank(name, validation, StageClock()),
        )
        for key in self.task.keys:
            if name_request_set(key) == name:
                model = str(key["model"])
                shares_candidates = model in self.rankers and self._is_ordered(name, model)
                seconds = sum_seconds(clock, model) + shares_candidates * sum_seconds(
                    clock, CANDIDATES
                )
                values = compute_values(valid_ranks[model], validation.relevance)
                yield key, Measurement(ranks[model], values, seconds)

    def _is_ordered(self, name: str, model: str) -> bool:
        return parse_task(name) in self.ranked_tasks or model != self.task.line.model

    def _rank(self, name: str, requests: RequestSet, clock: StageClock) -> dict[str, Values]:
        """Model -> ranks (T,); the clock gets ``candidates``, shared by rankers, and each model."""
        surface, engine_name = SETTINGS.all_surfaces()[parse_task(name)], self.task.line.model
        rankers = {
            model: ranker for model, ranker in self.rankers.items() if self._is_ordered(name, model)
        }
        ranks = rank_targets(surface, requests, self.state, rankers, clock) if rankers else {}
        if engine_name not in ranks:
            with clock.stage(engine_name):
                ranks[engine_name] = rank_listed_targets(surface, requests, self.state)
        return ranks


def compute_engine_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """Train the engine and evaluate the tasks of its line; one row per task and model."""
    data = Path(task.data)
    dataset = detect_dataset(data)
    split = dataset.build_split(data, np.load(task.words, allow_pickle=False))
    prepare_folder(Path(task.folder), task.digest)
    training, evaluation = split_requests(list_validation(split), task.seed)
    ranked_tasks = [
        task_name for task_name in task.line.tasks if task_name != "search" or dataset.logs_searches
    ]
    with tempfile.TemporaryDirectory() as scratch:
        engine = _train_engine(
            task, split, training if ranked_tasks else {}, ranked_tasks, Path(scratch) / "words"
        )
        return [
            build_row(task, key, split.tests[name], measurement, engine.costs[str(key["model"])])
            for name in dict.fromkeys(map(name_request_set, task.keys))
            for key, measurement in engine.measure(
                name, split.tests[name], evaluation[parse_task(name)]
            )
        ]


def list_validation(split: UnifiedSplit) -> dict[str, RequestSet]:
    """Task -> its validation requests."""
    validation: dict[str, RequestSet] = {}
    for name, requests in split.validation.items():
        # The first set of a task: it contains all requests, or all sets share their validation.
        validation.setdefault(parse_task(name), requests)
    return validation


def train_sources(
    task: UnifiedTask, split: UnifiedSplit, retriever: Retriever, scratch: Path
) -> EngineState:
    """Train everything but the ranker.

    Args:
        task: of the rows.
        split: with the training part.
        retriever: trained on it.
        scratch: empty folder for the word index, which must exist as long as the state.
    """
    content = np.load(task.content, allow_pickle=False)
    catalogue = renumber_catalogue(task, split)
    return build_engine_state(split.sequences, content, catalogue, retriever, task.seed, scratch)


def _train_engine(
    task: UnifiedTask,
    split: UnifiedSplit,
    training: Mapping[str, RequestSet],
    ranked_tasks: Sequence[str],
    scratch: Path,
) -> _BenchEngine:
    """Train the sources and, if there are training requests (by task), the rankers."""
    retriever = Retriever.open(Path(task.model_folder) / MODEL_FOLDER)
    clock = StageClock()
    with clock.stage(SOURCES):
        state = train_sources(task, split, retriever, scratch)
    rankers: dict[str, RankerFunction] = {}
    sizes = {task.line.model: 0}
    if training:
        with clock.stage(SOURCES):
            rows = build_training_rows(training, SETTINGS.all_surfaces(), state, task.seed)
        rankers, sizes = _train_rankers(task, rows, clock)
    retriever_seconds, _ = read_costs(Path(task.model_folder))
    costs = {
        name: {
            "cpu_s": round(
                retriever_seconds + sum_seconds(clock, SOURCES) + sum_seconds(clock, name), 3
            ),
            "params": retriever.num_parameters + size,
        }
        for name, size in sizes.items()
    }
    return _BenchEngine(task, state, rankers, costs, tuple(ranked_tasks))


def _train_rankers(
    task: UnifiedTask, rows: RankerRows, clock: StageClock
) -> tuple[dict[str, RankerFunction], dict[str, int]]:
    """Train the rankers: model -> ranker, model -> number of parameters; one stage per model."""
    rankers: dict[str, RankerFunction] = {}
    sizes: dict[str, int] = {}
    with clock.stage(task.line.model):
        ranker = Ranker(SETTINGS.ranker).train(rows, FEATURES, TrainOptions(task.seed))
    rankers[task.line.model] = lambda features, tasks: ranker.predict(features, tasks)[:, 0]
    sizes[task.line.model] = ranker.num_parameters
    for name in task.line.beside:
        with clock.stage(name):
            trees = Trees(rows, task.seed)
        rankers[name], sizes[name] = trees, trees.num_parameters
    return rankers, sizes


def sum_seconds(clock: StageClock, name: str) -> float:
    """CPU seconds of all stages of a name."""
    return sum(stage.cpu_s for stage in clock.stages if stage.name == name)
