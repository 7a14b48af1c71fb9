"""The engine of a benchmark: its state, ranker training rows, and ranks of targets.

Surfaces, sources, features and the ranker's network are the defaults of a workspace. Everything is
trained on the training part of the split; items without an event there are added as newly posted
items. The retriever is that of the row ``unified`` with the same seed.

Rankers are trained on validation targets, which no other model is trained on. All rankers order the
same candidates by the same features. Candidates come first, ordered by the ranker or, without one,
as the engine lists them; all other items follow, ordered by the retriever.

Shapes: B requests, T rows of requests, R rows (request, candidate), F features, N items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item_list import ItemList
from serendip.data.items.allowed_items import AllowedItems
from serendip.data.items.catalogue import Catalogue
from serendip.data.items.code_cells import CodeCells
from serendip.data.items.features import ItemFeatures
from serendip.data.items.reception import Reception
from serendip.data.query import TASKS, Query
from serendip.engine.config.models import ModelsConfig
from serendip.engine.config.settings import Settings
from serendip.engine.feature_names import feature_names
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.features import feature_matrix
from serendip.engine.stages.pipeline import gather, run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.errors import DataError
from serendip.evaluate.runs import Values, ranks_from_scores
from serendip.jobs.train.fit import compute_like_shares
from serendip.models.base import Recommender
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.retriever.model import Retriever
from serendip.models.transitions import TransitionsConfig
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip.search.searcher import Searcher
from serendip_bench.sequential.models import SEMANTIC_IDS, SEQUENTIAL
from serendip_bench.splits import BenchSplit, RequestSet

MAX_TRAINING_REQUESTS, NEGATIVES, HELD_OUT_SHARE = 20_000, 40, 0.1
"""Maximum number of training requests per task; sampled negatives per request; share of the steps
whose requests evaluate the ranker instead of training it."""

_BATCH_SIZE = 128
CANDIDATES = "candidates"
"""Clock stage shared by all rankers."""

RankerFunction: TypeAlias = Callable[[FloatArray, NDArray[np.int64]], FloatArray]
"""Ranker: features (R, F) and tasks (R,) -> values (R,), higher is better."""


def split_requests(
    validation: Mapping[str, RequestSet], seed: int
) -> tuple[dict[str, RequestSet], dict[str, RequestSet]]:
    """Split requests into training and evaluation of the ranker.

    Requests with the same step (last item, target) go to the same part, over all tasks. Splitting
    by target alone would be biased: targets of the evaluation would occur in training as negatives
    only.
    """
    steps = {task: _number_steps(requests) for task, requests in validation.items()}
    all_steps = np.unique(np.concatenate(list(steps.values())))  # (steps,)
    rng = np.random.default_rng(seed)
    held_out_steps = rng.choice(
        all_steps, math.ceil(HELD_OUT_SHARE * len(all_steps)), replace=False
    )
    training, evaluation = {}, {}
    for task, requests in validation.items():
        is_held_out = np.isin(steps[task], held_out_steps)  # (T,)
        evaluation[task] = requests.where(is_held_out)
        trainable = np.flatnonzero(~is_held_out)
        is_sampled = np.zeros(len(is_held_out), np.bool_)
        is_sampled[
            rng.choice(trainable, min(MAX_TRAINING_REQUESTS, len(trainable)), replace=False)
        ] = True
        training[task] = requests.where(is_sampled)
    return training, evaluation


def _number_steps(requests: RequestSet) -> NDArray[np.int64]:
    """(T,) one number per pair of last (or source) item and target."""
    before = [
        (query.source_items if len(query.source_items) else query.history.item_nums)[-1:]
        for query in requests.queries
    ]
    last = np.array([item[0] if len(item) else -1 for item in before], np.int64)
    return (last + 1) << 32 | requests.items.astype(np.int64)


def build_training_rows(
    training: Mapping[str, RequestSet],
    surfaces: Mapping[str, SurfaceConfig],
    state: EngineState,
    seed: int,
) -> RankerRows:
    """Training rows of all tasks: the target and sampled negatives of each request.

    Requests whose target is not among the candidates are dropped.

    Args:
        training: surface -> requests with their targets.
        surfaces: settings by name.
        state: with the sources.
        seed: of the negatives.

    Raises:
        DataError: no request has its target among the candidates.
    """
    rng, groups, parts = np.random.default_rng(seed), 0, []
    for name, requests in training.items():
        surface = surfaces[name]
        for part, batch, candidates in _gather_batches(surface, requests.queries, state):
            targets = requests.items[part]
            rows = _select_candidates(candidates, _sample_rows(candidates, targets, rng))
            parts.append(
                RankerRows(
                    feature_matrix(batch, rows),
                    _repeat_task(surface, len(rows)),
                    (rows.items == targets[rows.rows])[:, None].astype(np.float32),
                    np.ones(len(rows), np.float32),
                    groups + rows.rows.astype(np.int64),
                )
            )
            groups += len(targets)
    if not sum(map(len, parts)):
        raise DataError(
            f"None of {groups} requests has its target among the candidates.",
            "The ranker needs more events.",
        )
    names = ("features", "task", "labels", "weights", "group")
    return RankerRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def rank_targets(
    surface: SurfaceConfig,
    requests: RequestSet,
    state: EngineState,
    rankers: Mapping[str, RankerFunction],
    clock: StageClock,
) -> dict[str, Values]:
    """Ranks (T,) of the targets among all items, by each ranker of the same candidates.

    The clock gets the stage ``candidates`` and one stage per ranker.
    """
    ranks = {name: np.empty(len(requests.queries)) for name in rankers}
    gathered = _gather_batches(surface, requests.queries, state)
    while True:
        with clock.stage(CANDIDATES):
            batch_part = next(gathered, None)
            if batch_part is None:
                return ranks
            part, batch, candidates = batch_part
            targets = requests.items[part]
            excluded = [query.exclude for query in requests.queries[part]]
            scores = state.models["retriever"].score_all(batch.queries)  # (B, N)
            missed_ranks, is_hit = _rank_missed_targets(candidates, targets, excluded, scores)
            rows = _select_candidates(candidates, is_hit[candidates.rows])
            features, tasks = feature_matrix(batch, rows), _repeat_task(surface, len(rows))
        for name, ranker in rankers.items():
            with clock.stage(name):
                hit_ranks = rank_among_candidates(ranker(features, tasks), rows, targets)
                ranks[name][part] = np.where(is_hit, hit_ranks, missed_ranks)


def rank_listed_targets(surface: SurfaceConfig, requests: RequestSet, state: EngineState) -> Values:
    """Ranks (T,) of the targets among all items, in the order of the engine's answers.

    Args:
        surface: settings.
        requests: with their targets.
        state: without a ranker, so that candidates are fused by rank.
    """
    ranks = np.empty(len(requests.queries))
    for part in _slice_batches(requests.queries):
        queries, targets = requests.queries[part], requests.items[part]
        results = run(queries, surface, state)
        _require_whole(surface, results[0].degraded)
        lists = [result.items.item_nums for result in results]
        rows = np.arange(len(lists), dtype=np.int32)
        candidates = Candidates(
            np.repeat(rows, [len(items) for items in lists]), np.concatenate(lists)
        )
        scores = state.models["retriever"].score_all([result.query for result in results])
        missed_ranks, is_hit_row = _rank_missed_targets(
            candidates, targets, [query.exclude for query in queries], scores
        )
        listed_positions = [
            1.0 + np.flatnonzero(items == item)[0] if is_hit else np.nan
            for items, item, is_hit in zip(lists, targets, is_hit_row, strict=True)
        ]
        ranks[part] = np.where(is_hit_row, listed_positions, missed_ranks)
    return ranks


def rank_among_candidates(values: FloatArray, candidates: Candidates, targets: IntArray) -> Values:
    """Ranks (B,) of the targets among the candidates of their requests, ties counted half.

    rank = 1 + (candidates with a higher value) + (others with an equal value) / 2; NaN if the
    target is not a candidate.

    Args:
        values: (R,) of the candidates.
        candidates: R rows.
        targets: (B,) items.
    """
    target_values = np.full(len(targets), np.nan, np.float32)  # (B,) values of the targets
    is_target = candidates.items == targets[candidates.rows]
    target_values[candidates.rows[is_target]] = values[is_target]
    higher, equal = (
        np.bincount(candidates.rows, mask, len(targets))
        for mask in (
            values > target_values[candidates.rows],
            values == target_values[candidates.rows],
        )
    )
    return np.where(np.isnan(target_values), np.nan, 1.0 + higher + (equal - 1.0) / 2)


def _gather_batches(
    surface: SurfaceConfig, queries: Sequence[Query], state: EngineState
) -> Iterator[tuple[slice, Batch, Candidates]]:
    for part in _slice_batches(queries):
        batch, candidates = gather(queries[part], surface, state)
        _require_whole(surface, batch.degraded)
        yield part, batch, candidates


def _slice_batches(queries: Sequence[Query]) -> list[slice]:
    return [slice(begin, begin + _BATCH_SIZE) for begin in range(0, len(queries), _BATCH_SIZE)]


def _require_whole(surface: SurfaceConfig, degraded: Sequence[str]) -> None:
    if degraded:
        raise DataError(f"sources of {surface.task!r} failed: {', '.join(degraded)}.")


def _rank_missed_targets(
    candidates: Candidates, targets: IntArray, excluded: Sequence[IntArray], scores: FloatArray
) -> tuple[Values, BoolArray]:
    """Ranks (B,) of targets that are not candidates, and which targets (B,) are candidates."""
    is_hit = np.zeros(len(targets), np.bool_)
    is_hit[candidates.rows[candidates.items == targets[candidates.rows]]] = True
    behind = scores.copy()  # (B, N); all candidates come before the target
    behind[candidates.rows, candidates.items] = np.inf
    return ranks_from_scores(behind, targets, excluded), is_hit


def _sample_rows(candidates: Candidates, targets: IntArray, rng: np.random.Generator) -> BoolArray:
    """(R,) the target and up to ``NEGATIVES`` others, of requests with the target as candidate."""
    is_target = candidates.items == targets[candidates.rows]  # (R,)
    has_target = np.bincount(candidates.rows, is_target, len(targets)) > 0  # (B,)
    order = np.lexsort((np.where(is_target, -1.0, rng.random(len(candidates))), candidates.rows))
    first = np.searchsorted(candidates.rows, np.arange(len(targets)))  # (B,) first candidate
    position = np.empty(len(candidates), np.intp)  # (R,) within the request, targets first
    position[order] = np.arange(len(candidates)) - first[candidates.rows]
    return has_target[candidates.rows] & (position <= NEGATIVES)


def _select_candidates(candidates: Candidates, mask: BoolArray) -> Candidates:
    return Candidates(candidates.rows[mask], candidates.items[mask])


def _repeat_task(surface: SurfaceConfig, count: int) -> NDArray[np.int64]:
    return np.full(count, TASKS.index(surface.task), np.int64)


SETTINGS = Settings(
    models=ModelsConfig.model_validate(
        {"transitions": TransitionsConfig(**SEQUENTIAL["transitions+content"].config)}
    ),
    ranker=RankerConfig(actions=("interact",)),
)
"""Settings of the engine: defaults, with transitions as in ``bench sequential``."""

FEATURES = feature_names(SETTINGS.models.build(SETTINGS.unified))
"""Features of the engine's ranker."""

_RETRIEVER = "retriever"


def describe_engine() -> dict[str, Any]:
    """Settings that determine the engine's sources and ranker, for digests."""
    parts: dict[str, Config] = {
        "models": SETTINGS.models,
        "ranker": SETTINGS.ranker,
        "search": SETTINGS.search,
        **SETTINGS.all_surfaces(),
    }
    return {name: part.model_dump(mode="json") for name, part in parts.items()}


def build_engine_state(
    split: BenchSplit,
    content: FloatArray,
    catalogue: Catalogue,
    retriever: Retriever,
    seed: int,
    scratch: Path,
) -> EngineState:
    """Train everything except the ranker.

    Args:
        split: with the training part.
        content: unit vectors in the order of ``items.jsonl``.
        catalogue: all N items, numbered as in the split.
        retriever: trained on the training part.
        seed: of training and codebooks.
        scratch: empty folder for the lexical index, which must exist as long as the state.
    """
    codebooks, codes = split.codes(content, SEMANTIC_IDS, seed)
    vectors, num_train = content[split.numbers], split.train.num_items  # (N, C)
    features = ItemFeatures(vectors, codes, codebooks.codebook_size)
    new = features.rows(np.arange(num_train, len(vectors), dtype=np.int32))
    counts = np.zeros(len(vectors), np.int32)  # (N,)
    counts[:num_train] = split.train.item_counts()
    quality = np.zeros(len(vectors), np.float32)
    quality[:num_train] = compute_like_shares(split.train)
    searcher = CachedSearcher.build(catalogue, counts.astype(np.float32), scratch, SETTINGS.search)
    models: dict[str, Recommender] = {_RETRIEVER: retriever.with_late(new)}
    dataset = split.train.with_features(features.rows(np.arange(num_train, dtype=np.int32)))
    for name, model in SETTINGS.models.build(SETTINGS.unified).items():
        if name != _RETRIEVER:
            models[name] = model.train(dataset, TrainOptions(seed)).with_late(new)
    return EngineState(
        catalogue=catalogue,
        features=features,
        codebooks=codebooks,
        models=models,
        ranker=None,
        searcher=searcher,
        counts=counts,
        quality=quality,
        hidden=np.zeros(len(vectors), np.bool_),
        cells=CodeCells.of(codes, codebooks),
        mean_quality=float(quality.mean()),
        code_names={},
        variants=np.arange(len(vectors), dtype=np.int32),
        reception=Reception.none(len(vectors)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class CachedSearcher(Searcher):
    """A searcher that caches the results of each text, for thousands of requests with few texts.

    Excluded items are removed from the fused results rather than from the lists before fusion,
    which differs in the last few results only.
    """

    cached: dict[str, ItemList] = field(default_factory=dict)

    def search(
        self,
        text: str,
        k: int,
        allowed: AllowedItems | None = None,
        literal: bool = False,
    ) -> ItemList:
        """See ``Searcher.search``; ``literal`` must be the same for all searches of a text."""
        if text not in self.cached:
            results = Searcher.search(self, text, self.num_items, None, literal)
            self.cached[text] = results
        results = self.cached[text]
        rows = (
            np.arange(len(results))
            if allowed is None
            else np.flatnonzero(allowed.admits(results.item_nums))
        )
        return results.take(rows[:k])
