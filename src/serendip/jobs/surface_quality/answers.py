"""Answers to the requests of a surface, by the engine as it would be served and by its baselines.

The engine answers with the configuration of the surface. Baselines are its models alone, and what
the surface would be without what makes it special: for search the plain word search (BM25), and
rank fusion where the ranker orders it; for a surface with sold places the same list without a sale.
Baselines of a message send their best items to everybody.

Shapes: T requests, k length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data import AllowedItems, IntArray, ItemList, Query
from serendip.engine.stages.list_filters import RelevanceFilterConfig
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sponsored import BID, SPONSORED, has_bid
from serendip.engine.stages.surfaces import RANKER, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.special_surfaces import Sale, SystemMessages, measure_messages
from serendip.evaluate.surface_quality import K
from serendip.jobs.surface_quality.request_builder import SurfaceRequests
from serendip.jobs.train.ranker.requests import SEARCH
from serendip.jobs.whole_answers import answer_whole
from serendip.runtime.progress import Progress, SilentProgress

ENGINE, WORDS, FUSED, UNSOLD = "engine", "bm25", "rank fusion", "without a sale"
BATCH = 64

ANSWERS = "ranked lists"
"""Name of the step."""


def without_relevance_filter(surface: SurfaceConfig) -> SurfaceConfig:
    """The surface without a model that may have been trained on later labels."""
    return surface.model_copy(update={"relevance_filter": RelevanceFilterConfig(enabled=False)})


def sells(surface: SurfaceConfig, state: EngineState) -> bool:
    """Whether the surface has places for sale and any item a bid."""
    sponsored = surface.sponsored
    return sponsored is not None and bool(has_bid(state.catalogue, sponsored.bid).any())


def list_length(surface: SurfaceConfig) -> int:
    """Number of items of the lists of baselines: of a message those that it has, else ten."""
    return K if surface.min_value is None else min(surface.min_value.k, K)


def rank(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    length: int = K,
    progress: Progress | None = None,
) -> tuple[list[Result], dict[str, IntArray]]:
    """Answer queries by the engine and by each of its models alone.

    Args:
        queries: T queries.
        surface: what the engine answers; the models rank all items that a query does not exclude.
        state: of the engine.
        length: number of items of the models' lists, at most 10.
        progress: of the batches.

    Returns:
        the engine's results; system -> (T, 10) item numbers, padded with -1, the engine first.
    """
    config = without_relevance_filter(surface)
    results: list[Result] = []
    lists: dict[str, list[ItemList]] = {name: [] for name in state.models}
    starts = range(0, len(queries), BATCH)
    for begin in (progress or SilentProgress()).track(starts, ANSWERS, len(starts)):
        part = queries[begin : begin + BATCH]
        results += answer_whole(part, config, state)
        for name, model in state.models.items():
            lists[name] += model.recommend(part, length)
    engine = first_items([result.items for result in results])
    return results, {ENGINE: engine, **{name: first_items(some) for name, some in lists.items()}}


def answer_engine(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> IntArray:
    """The first ten items (T, 10) of the engine alone."""
    config, answers = without_relevance_filter(surface), []
    for begin in range(0, len(queries), BATCH):
        results = answer_whole(queries[begin : begin + BATCH], config, state)
        answers += [result.items for result in results]
    return first_items(answers)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceAnswers:
    """Lists of all systems for the requests of one surface.

    Args:
        lists: system -> (T, 10) item numbers, padded with -1; the engine first.
        message: figures of a surface that sends messages.
        sale: of a surface that sells places.
    """

    lists: Mapping[str, IntArray]
    message: Mapping[str, SystemMessages] | None = None
    sale: Sale | None = None


def answer_all(
    requests: SurfaceRequests, surface: SurfaceConfig, state: EngineState
) -> SurfaceAnswers:
    """Answer by all systems; measure what only messages or sold places have."""
    results, lists = rank(requests.queries, surface, state, list_length(surface))
    if surface.task == "search":
        words = first_items([_search_words(query, state) for query in requests.queries])
        lists = {ENGINE: lists[ENGINE], **_fuse(requests, surface, state), WORDS: words, **lists}
    message = None
    if surface.min_value is not None:
        message = measure_messages(lists, requests.afterwards)
    if not sells(surface, state):
        return SurfaceAnswers(lists, message)
    unsold = answer_engine(requests.queries, _without_sale(surface), state)
    sale = _find_sale(requests, surface, results, unsold)
    return SurfaceAnswers({**lists, UNSOLD: unsold}, message, sale)


def first_items(lists: Sequence[ItemList]) -> IntArray:
    """The first ten item numbers of each list (T, 10), padded with -1."""
    table = np.full((len(lists), K), -1, dtype=np.int32)
    for row, items in enumerate(lists):
        best = items.item_nums[:K]
        table[row, : len(best)] = best
    return table


def _search_words(query: Query, state: EngineState) -> ItemList:
    shown = AllowedItems(state.derived.item_set("deleted", lambda: ~state.hidden))
    return state.searcher.lexical.search(query.text, K, shown.without(query.exclude))


def _fuse(
    requests: SurfaceRequests, surface: SurfaceConfig, state: EngineState
) -> dict[str, IntArray]:
    """What rank fusion would answer to searches; empty if that is what the engine does."""
    is_ranked = state.ranker is not None and SEARCH in state.ranker.ordered_tasks
    if not is_ranked or surface.scorer != RANKER:
        return {}
    return {FUSED: answer_engine(requests.queries, surface, state.with_ranker(None))}


def _without_sale(surface: SurfaceConfig) -> SurfaceConfig:
    sources = {name: quota for name, quota in surface.sources.items() if name != SPONSORED}
    return surface.model_copy(update={"sponsored": None, "sources": sources})


def _find_sale(
    requests: SurfaceRequests,
    surface: SurfaceConfig,
    results: Sequence[Result],
    unsold: IntArray,
) -> Sale:
    assert surface.sponsored is not None
    items = first_items([result.items for result in results])
    shape = items.shape
    is_sold, bids = np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
    revenue = np.zeros(shape, np.float32)
    for row, result in enumerate(results):
        size = min(len(result.items), K)
        is_sold[row, :size] = result.items.fields[SPONSORED][:size]
        bids[row, :size] = np.nan_to_num(result.items.fields[BID][:size])
        revenue[row, :size] = result.items.scores[:size]
    return Sale(
        items,
        is_sold,
        bids,
        revenue,
        unsold,
        sum(position < K for position in surface.sponsored.positions),
        requests.afterwards,
    )
