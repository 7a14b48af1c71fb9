"""The list that is put in an order of its own: all items that match the words, or the filters.

Sources propose what is relevant, and of that the best few hundred: under an order by price the
cheapest of these would lead, whatever they have to do with the text, and cheaper matches be absent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.item_list import ItemList
from serendip.data.items.allowed_items import AllowedItems
from serendip.data.query import Query
from serendip.data.text import normalise
from serendip.engine.listing import sort_items
from serendip.engine.stages.pipeline import restrict, run
from serendip.engine.stages.relevance_filter import RelevanceFilterConfig
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.surface_stages import SurfaceStages
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.runtime.spans import span
from serendip.search.lexical import are_allowed

MOST_MATCHES = 1_000
"""Length of a list in an order of its own: the first ones of the order."""


def find_matches(query: Query, surface: SurfaceConfig, state: EngineState, sort: str) -> ItemList:
    """The first items, in the order ``sort``, of those that have all words of the searched text.

    Of a category page they are those of all items that pass its filters.

    Args:
        query: with a text, or without one.
        surface: of the request; of a category page see ``browse.py``.
        state: to search in.
        sort: see ``sort_items``; empty = no order of its own.

    Returns:
        items that may be shown, those that have words with the fields of hits of a search; none
        without an order, and in a request that neither searches by words that its surface reads nor
        is a category page.
    """
    if not sort:
        return ItemList()
    if BrowseSource.name in surface.sources:
        return _first(_unscored(_allowed(query, surface, state).numbers()), sort, state)
    seen = visible_to(surface, query)
    if not seen.text.strip() or WordSource.name not in surface.sources:
        return ItemList()
    key, typed = normalise(seen.searched), state.match_id(seen.text)
    allowed = _allowed(query, surface, state)
    if typed >= 0:
        return _unscored(np.array([typed], np.int32)).split(np.array([typed in allowed]))[0]
    complete = state.searcher.find_complete(key, query.is_literal)
    shown = complete.split(are_allowed(complete.item_nums, allowed))[0]
    first = _first(shown, sort, state)
    return state.searcher.with_title_match(first, seen.text, seen.is_literal)


def _allowed(query: Query, surface: SurfaceConfig, state: EngineState) -> AllowedItems:
    """The items that pass the filters of the request and of its surface."""
    *_, (_, allowed) = restrict(query, visible_to(surface, query), SurfaceStages.of(surface), state)
    return allowed


def _unscored(numbers: IntArray) -> ItemList:
    return ItemList.of_distinct(numbers, np.zeros(len(numbers), np.float32))


def _first(items: ItemList, sort: str, state: EngineState) -> ItemList:
    """The first of some items in an order."""
    return sort_items(items, sort, state.catalogue, MOST_MATCHES)


def run_matches(query: Query, surface: SurfaceConfig, state: EngineState, sort: str) -> Result:
    """The list of a request in an order of its own, before it is put in that order.

    Items that match are in it whatever the relevance model says of them: it is complete.

    Args:
        query: with a text, or without one.
        surface: of the request.
        state: to answer from.
        sort: see ``sort_items``; not empty.
    """
    with span("matches"):
        matches = find_matches(query, surface, state, sort)
    if not len(matches):
        return _keep_matches(run([query], surface, state)[0], matches)
    unchecked = RelevanceFilterConfig(enabled=False)
    surface = surface.model_copy(update={"relevance_filter": unchecked})
    result = run([query], surface, state, also=[matches.item_nums], hits=[matches])[0]
    return _keep_matches(result, matches)


def _keep_matches(result: Result, matches: ItemList) -> Result:
    """The result without items that do not match; without any match, without those that only mean
    the same as others that have a word.
    """
    items = result.items
    words = np.nan_to_num(items.fields.get("bm25", np.zeros(len(items)))) > 0
    keep = np.isin(items.item_nums, matches.item_nums) if len(matches) else words
    return replace(result, items=items.split(keep)[0]) if keep.any() else result
