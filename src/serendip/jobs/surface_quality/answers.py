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
from serendip.evaluate.special_surfaces import Sale
from serendip.evaluate.surface_quality import ALL, K, Run, SurfaceFigures, measure_surface
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.requests import SurfaceRequests
from serendip.jobs.whole_answers import BATCH, answer_whole

ENGINE, WORDS, FUSED, UNSOLD = "engine", "bm25", "rank fusion", "without a sale"
_SEARCH = TASKS.index("search")


def without_relevance_filter(surface: SurfaceConfig) -> SurfaceConfig:
    """The surface without a model that may have been trained on later labels."""
    return surface.model_copy(update={"relevance_filter": RelevanceFilterConfig(enabled=False)})


def sells(surface: SurfaceConfig, state: EngineState) -> bool:
    """Whether the surface has places for sale and any item a bid."""
    sponsored = surface.sponsored
    return sponsored is not None and bool(has_bid(state.catalogue, sponsored.bid).any())


def answer_unfiltered(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> list[Result]:
    """Answers of the engine, without a filter that may know labels of later."""
    return answer_whole(queries, without_relevance_filter(surface), state)


def answer_engine(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> IntArray:
    """The first ten items (T, 10) of the engine alone."""
    return first_items([result.items for result in answer_unfiltered(queries, surface, state)])


def answer_baselines(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> dict[str, IntArray]:
    """System -> item numbers (T, 10), padded with -1, of the baselines of the engine.

    The models rank all items that a query does not exclude.
    """
    lists = dict[str, IntArray]()
    if surface.task == "search":
        is_ranked = state.ranker is not None and _SEARCH in state.ranker.ordered_tasks
        if is_ranked and surface.scorer == RANKER:
            lists[FUSED] = answer_engine(queries, surface, replace(state, ranker=None))
        lists[WORDS] = first_items([_search_words(query, state) for query in queries])
    length = K if surface.min_value is None else min(surface.min_value.k, K)  # of a message
    for name, model in state.models.items():
        parts = range(0, len(queries), BATCH)
        found = [model.recommend(queries[begin : begin + BATCH], length) for begin in parts]
        lists[name] = first_items(list(chain.from_iterable(found)))
    if sells(surface, state):
        sources = {name: quota for name, quota in surface.sources.items() if name != SPONSORED}
        plain = surface.model_copy(update={"sponsored": None, "sources": sources})
        lists[UNSOLD] = answer_engine(queries, plain, state)
    return lists


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
    surface: SurfaceConfig,
    results: Sequence[Result],
    unsold: IntArray,
    afterwards: Sequence[IntArray],
) -> Sale:
    assert surface.sponsored is not None
    items = [result.items for result in results]
    is_sold, bids, revenue = np.zeros((3, len(items), K), np.float32)
    for row, part in enumerate(one.take(slice(0, K)) for one in items):
        is_sold[row, : len(part)] = part.fields[SPONSORED]
        bids[row, : len(part)] = np.nan_to_num(part.fields[BID])
        revenue[row, : len(part)] = part.scores
    for_sale = sum(position < K for position in surface.sponsored.positions)
    return Sale(first_items(items), is_sold > 0, bids, revenue, unsold, for_sale, afterwards)


HOME = "home"

NOTHING = "No event after the cut makes such a request."
BY_LIKENESS = "The list is ordered by likeness: it need not have what is chosen next."


def measure_surfaces(
    builder: SurfaceRequestBuilder, state: EngineState, countries: Mapping[str, str], home: Run
) -> list[SurfaceFigures]:
    """Figures of every configured surface; a note instead where there is nothing to ask.

    Item numbers of the state are those of the split. Users without a country are left out.
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
        run = home if name == HOME else ask(builder.build(name), builder, state, countries)
        figures.append(
            measure_surface(run)
            if len(run.users)
            else SurfaceFigures(name, run.question, note=NOTHING)
        )
    return figures


def ask(
    requests: SurfaceRequests,
    builder: SurfaceRequestBuilder,
    state: EngineState,
    countries: Mapping[str, str],
    baselines: bool = True,
) -> Run:
    """Ask a surface of a state as it would be served, and its baselines; see ``measure_surfaces``.

    Raises:
        UnsupportedError: a stage failed.
    """
    surface = builder.settings.all_surfaces()[requests.surface]
    queries, relevant, afterwards = requests.queries, requests.relevant, requests.afterwards
    results = answer_unfiltered(queries, surface, state)
    others = answer_baselines(queries, surface, state) if baselines else {}
    unsold = others.get(UNSOLD)
    return Run(
        surface=requests.surface,
        question=requests.question,
        keys=requests.keys,
        users=requests.users,
        parts={ALL: relevant, **find_slices(builder.split, queries, relevant, countries)},
        lists={ENGINE: first_items([result.items for result in results]), **others},
        counts=state.counts,
        is_new=state.new_items.mask,
        histories=[query.history.item_nums for query in queries],
        baselines=() if surface.likeness else list(others),
        possible=requests.possible,
        afterwards=() if surface.min_value is None else afterwards,
        sale=None if unsold is None else _find_sale(surface, results, unsold, afterwards),
        note=BY_LIKENESS if surface.likeness else "",
    )
