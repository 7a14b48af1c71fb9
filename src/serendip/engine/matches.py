"""The list that is put in an order of its own: all items that match the words, or the filters.

Sources propose what is relevant, and of that the best few hundred: under an order by price the
cheapest of these would lead, whatever they have to do with the text, and cheaper matches be absent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.data.allowed_items import AllowedItems
from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.text import normalise
from serendip.engine.listing import sort_items
from serendip.engine.stages.pipeline import restrict
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.surface_stages import SurfaceStages
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.search.lexical import are_allowed

MOST_MATCHES = 1_000
"""Length of a list in an order of its own: the first ones of the order."""


def find_matches(query: Query, surface: SurfaceConfig, state: EngineState, sort: str) -> IntArray:
    """The first items, in the order ``sort``, of those that have all words of the searched text.

    Of a category page they are those of all items that pass its filters.

    Args:
        query: with a text, or without one.
        surface: of the request; of a category page see ``browse.py``.
        state: to search in.
        sort: see ``sort_items``; empty = no order of its own.

    Returns:
        (M,) item numbers that may be shown; none without an order, in a request that neither
        searches by words that its surface reads nor is a category page, and where accepted synonyms
        match in place of a word.
    """
    if not sort:
        return NO_ITEMS
    if BrowseSource.name in surface.sources:
        return _first(_allowed(query, surface, state).numbers(), sort, state)
    seen = visible_to(surface, query)
    if not seen.text.strip() or WordSource.name not in surface.sources:
        return NO_ITEMS
    key, typed = normalise(seen.searched), state.match_id(seen.text)
    if state.searcher.synonyms.beside(key) and not query.is_literal:
        return NO_ITEMS
    having = state.searcher.lexical.having_all(key, state.num_items)
    numbers = having if typed < 0 else np.array([typed], np.int32)
    return _first(numbers[are_allowed(numbers, _allowed(query, surface, state))], sort, state)


def _allowed(query: Query, surface: SurfaceConfig, state: EngineState) -> AllowedItems:
    """The items that pass the filters of the request and of its surface."""
    *_, (_, allowed) = restrict(query, visible_to(surface, query), SurfaceStages.of(surface), state)
    return allowed


def _first(numbers: IntArray, sort: str, state: EngineState) -> IntArray:
    """The first of some items in an order."""
    listed = ItemList.of_distinct(numbers, np.zeros(len(numbers), np.float32))
    return sort_items(listed, sort, state.catalogue, MOST_MATCHES).item_nums


def keep_matches(result: Result, matches: IntArray) -> Result:
    """The result without items that do not match; without any match, without those that only mean
    the same as others that have a word.
    """
    items = result.items
    words = np.nan_to_num(items.fields.get("bm25", np.zeros(len(items)))) > 0
    keep = np.isin(items.item_nums, matches) if len(matches) else words
    return replace(result, items=items.split(keep)[0]) if keep.any() else result
