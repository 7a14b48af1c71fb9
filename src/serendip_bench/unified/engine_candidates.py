"""Candidates of the engine for a benchmark's requests: to learn an order from, and to be ordered.

What is learned from are validation targets, which no model has learned; test targets are only
looked up to say where they stand. Every ranker sees the same candidates with the same features.
Candidates are ranked by the ranker, or where none may order them as the engine lists them; all
other items come after them, by the retriever's score.

Shapes: B requests, R rows (request, candidate), F features.

The engine of a benchmark's trial, over its training part and with its encoder and retriever.

Surfaces, sources, features and the ranker's network are the defaults of a workspace. All is fitted
on the training part; items without an event in it join as posted items do. The retriever is the one
that the row ``unified`` of the same seed has trained.
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
from serendip.data.item import Catalogue
from serendip.data.item_features import ItemFeatures
from serendip.data.item_list import ItemList
from serendip.data.query import TASKS, Query
from serendip.engine.feature_names import feature_names
from serendip.engine.models_config import ModelsConfig
from serendip.engine.settings import Settings
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
from serendip.search.suggestions.completions import Suggester
from serendip_bench.sequential.models import SEMANTIC_IDS, SEQUENTIAL
from serendip_bench.splits import BenchSplit, RequestSet

LEARNED, NEGATIVES, HELD_OUT = 20_000, 40, 0.1
"""Requests of a task that are learned from, at most; candidates without a label that are kept of
each; share of the steps whose requests judge the ranker and are not learned from."""

_AT_ONCE = 128
CANDIDATES = "candidates"
"""Stage of the clock that all orderers share."""

Orderer: TypeAlias = Callable[[FloatArray, NDArray[np.int64]], FloatArray]
"""Features (R, F) and tasks (R,) -> values (R,), higher is better."""


def held_out(
    validation: Mapping[str, RequestSet], seed: int
) -> tuple[dict[str, RequestSet], dict[str, RequestSet]]:
    """Requests to learn from, and others that judge.

    They are told apart by the last item and the one that came next: requests of several tasks for
    the same step of a user stay together. Not by what came next alone: to learn that an item is
    never right where it is only another candidate would spoil what it is judged by.
    """
    steps = {task: _steps(asked) for task, asked in validation.items()}
    known = np.unique(np.concatenate(list(steps.values())))
    rng = np.random.default_rng(seed)
    judging = rng.choice(known, math.ceil(HELD_OUT * len(known)), replace=False)
    learned, judged = {}, {}
    for task, asked in validation.items():
        judges = np.isin(steps[task], judging)
        judged[task] = asked.where(judges)
        rest = np.flatnonzero(~judges)
        kept = np.zeros(len(judges), np.bool_)
        kept[rng.choice(rest, min(LEARNED, len(rest)), replace=False)] = True
        learned[task] = asked.where(kept)
    return learned, judged


def _steps(asked: RequestSet) -> NDArray[np.int64]:
    """(T,) one number for the last item (the source, where there is one) and what came next."""
    before = [
        (query.source_items if len(query.source_items) else query.history.item_nums)[-1:]
        for query in asked.queries
    ]
    last = np.array([item[0] if len(item) else -1 for item in before], np.int64)
    return (last + 1) << 32 | asked.items.astype(np.int64)


def learning_rows(
    learned: Mapping[str, RequestSet],
    surfaces: Mapping[str, SurfaceConfig],
    state: EngineState,
    seed: int,
) -> RankerRows:
    """Rows of all tasks: of each request what came next and some of the other candidates.

    Requests whose sources did not propose what came next are left out: no order is right there.

    Args:
        learned: surface -> requests, and what came next.
        surfaces: how they are answered.
        state: the sources.
        seed: which other candidates.

    Raises:
        DataError: no source proposed what came next, for any request.
    """
    rng, groups, parts = np.random.default_rng(seed), 0, []
    for name, asked in learned.items():
        surface = surfaces[name]
        for part, batch, found in _gathered(surface, asked.queries, state):
            wanted = asked.items[part]
            rows = _only(found, _sampled(found, wanted, rng))
            parts.append(
                RankerRows(
                    feature_matrix(batch, rows),
                    _tasks(surface, len(rows)),
                    (rows.items == wanted[rows.rows])[:, None].astype(np.float32),
                    np.ones(len(rows), np.float32),
                    groups + rows.rows.astype(np.int64),
                )
            )
            groups += len(wanted)
    if not sum(map(len, parts)):
        raise DataError(
            f"of {groups} requests none has what came next among its candidates.",
            "Give more events: there is nothing to learn an order from.",
        )
    names = ("features", "task", "labels", "weights", "group")
    return RankerRows(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


def ranks_of(
    surface: SurfaceConfig,
    asked: RequestSet,
    state: EngineState,
    orderers: Mapping[str, Orderer],
    clock: StageClock,
) -> dict[str, Values]:
    """Ranks (T,) of what came next among all items, by each orderer of the same candidates.

    The clock gets stages ``candidates`` and, for each orderer, its name.
    """
    ranks = {name: np.empty(len(asked.queries)) for name in orderers}
    gathered = _gathered(surface, asked.queries, state)
    while True:
        with clock.stage(CANDIDATES):
            step = next(gathered, None)
            if step is None:
                return ranks
            part, batch, found = step
            wanted = asked.items[part]
            excluded = [query.exclude for query in asked.queries[part]]
            missed, hit = _missed(found, wanted, excluded, batch.scores("retriever"))
            rows = _only(found, hit[found.rows])
            features, tasks = feature_matrix(batch, rows), _tasks(surface, len(rows))
        for name, orderer in orderers.items():
            with clock.stage(name):
                placed = places(orderer(features, tasks), rows, wanted)
                ranks[name][part] = np.where(hit, placed, missed)


def listed_ranks(surface: SurfaceConfig, asked: RequestSet, state: EngineState) -> Values:
    """Ranks (T,) of what came next among all items, where the engine lists them in an order.

    Args:
        surface: how the requests are answered.
        asked: the requests, and what came next.
        state: without a ranker: what the sources propose is fused by rank.
    """
    ranks = np.empty(len(asked.queries))
    for part in _parts(asked.queries):
        queries, wanted = asked.queries[part], asked.items[part]
        results = run(queries, surface, state)
        _require_whole(surface, results[0].degraded)
        lists = [result.items.item_nums for result in results]
        rows = np.arange(len(lists), dtype=np.int32)
        found = Candidates(np.repeat(rows, [len(one) for one in lists]), np.concatenate(lists))
        scores = state.models["retriever"].score_all([result.query for result in results])
        missed, hit = _missed(found, wanted, [query.exclude for query in queries], scores)
        listed = [
            1.0 + np.flatnonzero(one == item)[0] if is_hit else np.nan
            for one, item, is_hit in zip(lists, wanted, hit, strict=True)
        ]
        ranks[part] = np.where(hit, listed, missed)
    return ranks


def places(values: FloatArray, candidates: Candidates, wanted: IntArray) -> Values:
    """Ranks (B,) of the wanted items among the candidates of their requests, ties counted half.

    rank = 1 + (candidates valued higher) + (other candidates valued equal) / 2; NaN where the
    wanted item is no candidate.
    """
    own = np.full(len(wanted), np.nan, np.float32)
    is_wanted = candidates.items == wanted[candidates.rows]
    own[candidates.rows[is_wanted]] = values[is_wanted]
    higher, equal = (
        np.bincount(candidates.rows, mask, len(wanted))
        for mask in (values > own[candidates.rows], values == own[candidates.rows])
    )
    return np.where(np.isnan(own), np.nan, 1.0 + higher + (equal - 1.0) / 2)


def _gathered(
    surface: SurfaceConfig, queries: Sequence[Query], state: EngineState
) -> Iterator[tuple[slice, Batch, Candidates]]:
    for part in _parts(queries):
        batch, found = gather(queries[part], surface, state)
        _require_whole(surface, batch.degraded)
        yield part, batch, found


def _parts(queries: Sequence[Query]) -> list[slice]:
    return [slice(begin, begin + _AT_ONCE) for begin in range(0, len(queries), _AT_ONCE)]


def _require_whole(surface: SurfaceConfig, degraded: Sequence[str]) -> None:
    if degraded:
        raise DataError(f"sources of {surface.task!r} failed: {', '.join(degraded)}.")


def _missed(
    found: Candidates, wanted: IntArray, excluded: Sequence[IntArray], scores: FloatArray
) -> tuple[Values, BoolArray]:
    """Ranks (B,) of wanted items that are no candidates, and who has its item among them."""
    hit = np.zeros(len(wanted), np.bool_)
    hit[found.rows[found.items == wanted[found.rows]]] = True
    behind = scores.copy()
    behind[found.rows, found.items] = np.inf
    return ranks_from_scores(behind, wanted, excluded), hit


def _sampled(found: Candidates, wanted: IntArray, rng: np.random.Generator) -> BoolArray:
    """(R,) of requests whose item is among the candidates: it, and up to ``NEGATIVES`` others."""
    is_wanted = found.items == wanted[found.rows]
    has_wanted = np.bincount(found.rows, is_wanted, len(wanted)) > 0
    order = np.lexsort((np.where(is_wanted, -1.0, rng.random(len(found))), found.rows))
    first = np.searchsorted(found.rows, np.arange(len(wanted)))
    place = np.empty(len(found), np.intp)
    place[order] = np.arange(len(found)) - first[found.rows]
    return has_wanted[found.rows] & (place <= NEGATIVES)


def _only(found: Candidates, mask: BoolArray) -> Candidates:
    return Candidates(found.rows[mask], found.items[mask])


def _tasks(surface: SurfaceConfig, count: int) -> NDArray[np.int64]:
    return np.full(count, TASKS.index(surface.task), np.int64)


SETTINGS = Settings(
    models=ModelsConfig.model_validate(
        {"transitions": TransitionsConfig(**SEQUENTIAL["transitions+content"].config)}
    ),
    ranker=RankerConfig(actions=("interact",)),
)
"""Of the engine: surfaces and sources as they are by default, transitions as in ``sequential``."""

FEATURES = feature_names(SETTINGS.models.build(SETTINGS.unified))
"""Of the engine's ranker."""

_RETRIEVER = "retriever"


def engine_facts() -> dict[str, Any]:
    """What decides the engine's sources and ranker, for digests."""
    parts: dict[str, Config] = {
        "models": SETTINGS.models,
        "ranker": SETTINGS.ranker,
        "search": SETTINGS.search,
        **SETTINGS.all_surfaces(),
    }
    return {name: part.model_dump(mode="json") for name, part in parts.items()}


def engine_state(
    trial: BenchSplit,
    content: FloatArray,
    catalogue: Catalogue,
    retriever: Retriever,
    seed: int,
    scratch: Path,
) -> EngineState:
    """Everything but the ranker.

    Args:
        trial: whose training part is learned from.
        content: unit vectors in the order of ``items.jsonl``.
        catalogue: all N items under the numbers of the trial.
        retriever: trained on the training part.
        seed: of training and codebooks.
        scratch: empty folder for the word index, which must stay while the state is asked.
    """
    codebooks, codes = trial.codes(content, SEMANTIC_IDS, seed)
    vectors, known = content[trial.numbers], trial.train.num_items
    features = ItemFeatures(vectors, codes, codebooks.codebook_size)
    new = features.rows(np.arange(known, len(vectors), dtype=np.int32))
    counts = np.zeros(len(vectors), np.int32)
    counts[:known] = trial.train.item_counts()
    quality = np.zeros(len(vectors), np.float32)
    quality[:known] = compute_like_shares(trial.train)
    searcher = RememberingSearcher.build(
        catalogue, counts.astype(np.float32), scratch, SETTINGS.search
    )
    models: dict[str, Recommender] = {_RETRIEVER: retriever.with_items(new)}
    dataset = trial.train.with_features(features.rows(np.arange(known, dtype=np.int32)))
    for name, model in SETTINGS.models.build(SETTINGS.unified).items():
        if name != _RETRIEVER:
            models[name] = model.train(dataset, TrainOptions(seed)).with_items(new)
    return EngineState(
        catalogue=catalogue,
        features=features,
        codebooks=codebooks,
        models=models,
        ranker=None,
        searcher=searcher,
        suggester=Suggester(searcher, {}, ()),
        counts=counts,
        quality=quality,
        hidden=np.zeros(len(vectors), np.bool_),
        code_names={},
    )


@dataclass(frozen=True, slots=True, eq=False)
class RememberingSearcher(Searcher):
    """A searcher for thousands of requests with the same words: it searches once for each text.

    What a request excludes is taken out of the answer instead of out of the lists that it is fused
    from, which is the same but for the last few of them.
    """

    answers: dict[str, ItemList] = field(default_factory=dict)

    def search(
        self,
        text: str,
        k: int,
        allowed: BoolArray | None = None,
        literal: bool = False,
    ) -> ItemList:
        """See ``Searcher.search``; a text is read in one way."""
        if text not in self.answers:
            whole = Searcher.search(self, text, self.num_items, None, literal)
            self.answers[text] = whole
        found = self.answers[text]
        rows = (
            np.arange(len(found)) if allowed is None else np.flatnonzero(allowed[found.item_nums])
        )
        return found.take(rows[:k])
