"""Answers to the requests of a surface, by the engine as served and by baselines, and measures.

The engine answers with the configuration of the surface. Baselines are its models alone, and what
the surface would be without what makes it special: for search the plain word search (BM25), and
rank fusion where the ranker orders it; for a surface with sold places the same list without a sale.
Baselines of a message send their best items to everybody.

Shapes: T requests, k length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from serendip.data import AllowedItems, IntArray, ItemList, Query
from serendip.data.query import TASKS
from serendip.engine.stages.list_filters import RelevanceFilterConfig
from serendip.engine.stages.list_rules import BID, SPONSORED, has_bid
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import RANKER, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.special_surfaces import Sale, measure_messages
from serendip.evaluate.surface_quality import K, SurfaceFigures, SurfaceRuns, measure_surface
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.requests import SurfaceRequests
from serendip.jobs.whole_answers import answer_whole

ENGINE, WORDS, FUSED, UNSOLD = "engine", "bm25", "rank fusion", "without a sale"
BATCH = 64


def without_relevance_filter(surface: SurfaceConfig) -> SurfaceConfig:
    """The surface without a model that may have been trained on later labels."""
    return surface.model_copy(update={"relevance_filter": RelevanceFilterConfig(enabled=False)})


def sells(surface: SurfaceConfig, state: EngineState) -> bool:
    """Whether the surface has places for sale and any item a bid."""
    sponsored = surface.sponsored
    return sponsored is not None and bool(has_bid(state.catalogue, sponsored.bid).any())


def answer_in_batches(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> list[Result]:
    """Answers of the engine, without a filter that may know labels of later."""
    config, results = without_relevance_filter(surface), list[Result]()
    for begin in range(0, len(queries), BATCH):
        results += answer_whole(queries[begin : begin + BATCH], config, state)
    return results


def rank(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    length: int = K,
) -> tuple[list[Result], dict[str, IntArray]]:
    """Answer queries by the engine and by each of its models alone.

    The models rank all items that a query does not exclude, at most 10 of them. Returns the
    engine's results, and system -> (T, 10) item numbers, padded with -1, the engine first.
    """
    results = answer_in_batches(queries, surface, state)
    lists = {ENGINE: first_items([result.items for result in results])}
    for name, model in state.models.items():
        parts = range(0, len(queries), BATCH)
        found = [model.recommend(queries[begin : begin + BATCH], length) for begin in parts]
        lists[name] = first_items(list(chain.from_iterable(found)))
    return results, lists


def answer_engine(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> IntArray:
    """The first ten items (T, 10) of the engine alone."""
    return first_items([result.items for result in answer_in_batches(queries, surface, state)])


def answer_all(
    requests: SurfaceRequests, surface: SurfaceConfig, state: EngineState
) -> tuple[dict[str, IntArray], Sale | None]:
    """Lists (T, 10) of all systems, padded with -1, the engine first; and what was sold."""
    length = K if surface.min_value is None else min(surface.min_value.k, K)  # of a message
    queries = requests.queries
    results, lists = rank(queries, surface, state, length)
    if surface.task == "search":
        words = first_items([_search_words(query, state) for query in queries])
        fused, ranker = dict[str, IntArray](), state.ranker
        is_ranked = ranker is not None and TASKS.index("search") in ranker.ordered_tasks
        if is_ranked and surface.scorer == RANKER:
            fused[FUSED] = answer_engine(queries, surface, replace(state, ranker=None))
        lists = {ENGINE: lists[ENGINE], **fused, WORDS: words, **lists}
    if not sells(surface, state):
        return lists, None
    sources = {name: quota for name, quota in surface.sources.items() if name != SPONSORED}
    plain = surface.model_copy(update={"sponsored": None, "sources": sources})
    unsold = answer_engine(queries, plain, state)
    return {**lists, UNSOLD: unsold}, _find_sale(requests, surface, results, unsold)


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
    for_sale = sum(position < K for position in surface.sponsored.positions)
    return Sale(items, is_sold, bids, revenue, unsold, for_sale, requests.afterwards)


HOME = "home"

NOTHING = "No event after the cut makes such a request."
BY_LIKENESS = "The list is ordered by likeness: it need not have what is chosen next."


def measure_surfaces(
    builder: SurfaceRequestBuilder,
    state: EngineState,
    countries: Mapping[str, str],
    home: tuple[SurfaceRequests, Mapping[str, IntArray]],
) -> list[SurfaceFigures]:
    """Figures of every configured surface; a note instead where there is nothing to ask.

    Item numbers of the state are those of the split. Users without a country are left out. What was
    asked of home has lists (T, 10) by system.
    """
    figures = []
    for name, surface in builder.settings.all_surfaces().items():
        if surface.sponsored is not None and not sells(surface, state):
            note = (
                f"No item has a bid (attribute {surface.sponsored.bid!r}): nothing can be sold, "
                "and the list is what it would be without places for sale."
            )
            figures.append(SurfaceFigures(name, "The feed with places for sale.", note=note))
            continue
        requests = home[0] if name == HOME else builder.build(name)
        if not len(requests):
            figures.append(SurfaceFigures(name, requests.question, note=NOTHING))
            continue
        lists, sale = (home[1], None) if name == HOME else answer_all(requests, surface, state)
        runs = collect_runs(builder, state, countries, requests, lists, sale)
        figures.append(measure_surface(runs))
    return figures


def collect_runs(
    builder: SurfaceRequestBuilder,
    state: EngineState,
    countries: Mapping[str, str],
    requests: SurfaceRequests,
    lists: Mapping[str, IntArray],
    sale: Sale | None = None,
) -> SurfaceRuns:
    """What is measured of the lists for the requests of a surface; see ``measure_surfaces``."""
    surface = builder.settings.all_surfaces()[requests.surface]
    queries, relevant = requests.queries, requests.relevant
    sends = surface.min_value is not None
    models = {name: part for name, part in lists.items() if name != UNSOLD}
    return SurfaceRuns(
        surface=requests.surface,
        question=requests.question,
        relevant=relevant,
        users=requests.users,
        slices=find_slices(builder.split, queries, relevant, countries),
        lists=lists,
        counts=state.counts,
        is_new=state.new_items.mask,
        histories=[query.history.item_nums for query in queries],
        baselines=[name for name in lists if name != ENGINE and not surface.likeness],
        possible=requests.possible,
        message=measure_messages(models, requests.afterwards) if sends else None,
        sale=sale,
        note=BY_LIKENESS if surface.likeness else "",
    )
