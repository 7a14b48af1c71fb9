"""The list that has an order of its own, filters or counts: all items that match the words.

Sources propose what is relevant, and of that the best few hundred: under an order by price the
cheapest of these would lead, whatever they have to do with the text, and cheaper matches be absent;
and a facet would count other items than a filter by it shows. So both are of all items that have
every word of the text. Where no item has, they are of what the text finds without the filters.

The third one is the category page: a request with filters and nothing typed. What a surface
proposes by a text, or as a feed, is not what somebody means who chooses a category: then every item
in it may come, in the engine's order or one by a number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from serendip.data import NO_ITEMS, AllowedItems, IntArray, ItemList, Query, normalise
from serendip.data.arrays import distinct
from serendip.engine.listing import sort_items
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import RelevanceFilterConfig
from serendip.engine.stages.list_rules import SPONSORED
from serendip.engine.stages.pipeline import answer_queries, find_allowed
from serendip.engine.stages.rules import find_pins, put_pins
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.search.lexical import are_allowed
from serendip.search.searcher import MOST_COMPLETE, put_first

_MOST_COUNTED = 10_000  # items of a category page that facets count
MOST_MATCHES = 1_000  # length of a list in an order or with filters of its own: the first ones


@dataclass(frozen=True, eq=False)
class Matches:
    """What matches one request on its surface."""

    query: Query
    surface: SurfaceConfig
    state: EngineState

    @cached_property
    def complete(self) -> ItemList:
        """Items with all words of the text, whether or not they may be shown; none without one."""
        seen = self._seen
        if not seen.text.strip() or WordSource.name not in self.surface.sources:
            return ItemList()
        return self.state.searcher.find_complete(seen.text, self.query.is_literal)

    @cached_property
    def _seen(self) -> Query:
        return visible_to(self.surface, self.query)

    @cached_property
    def allowed(self) -> AllowedItems:
        """Items that may be shown."""
        return find_allowed(self.query, self.surface, self.state)

    def _show(self, items: ItemList) -> ItemList:
        return items.split(are_allowed(items.item_nums, self.allowed))[0]

    def find(self, sort: str) -> ItemList:
        """The first items, in the order ``sort``, of those that have all words of the text.

        Of a category page with an order they are those of all items that pass its filters.

        ``sort`` is as of ``sort_items``; empty = by how well they match.

        Returns:
            items that may be shown, those that have words with the fields of hits of a search; none
            without an order, and in a request that neither searches by words that its surface reads
            nor is a category page.
        """
        searcher, seen = self.state.searcher, self._seen
        if BrowseSource.name in self.surface.sources:
            numbers = self.allowed.numbers() if sort else NO_ITEMS
            return sort_items(_unscored(numbers), sort, self.state.catalogue, MOST_MATCHES)
        typed = self.state.match_id(seen.text)
        if sort and typed >= 0 and len(self.complete):
            return self._show(_unscored(np.array([typed], np.int32)))
        shown = self._show(self.complete)
        if sort:
            first = sort_items(shown, sort, self.state.catalogue, MOST_MATCHES)
            return searcher.with_match(first, seen.text, seen.is_literal)
        best = searcher.with_match(shown, seen.text, seen.is_literal, MOST_MATCHES)
        return put_first(typed, best) if typed in best.item_nums else best

    def list_counted(self, result: Result) -> IntArray:
        """The items that facets count: all that have every word and may be shown, or else those of
        the whole list; of a category page all that pass its filters, if they are 10,000 at most.
        """
        is_browse = BrowseSource.name in self.surface.sources
        if is_browse and self.allowed.count <= _MOST_COUNTED:
            return self.allowed.numbers()
        shown = self._show(self.complete)
        return shown.item_nums if len(shown) else result.listed

    def count(self, result: Result, is_whole: bool) -> tuple[int, bool]:
        """Number of items of all pages together, and whether it is exact.

        ``is_whole`` = the result has all that a request with an order or filters of its own finds.
        """
        if BrowseSource.name in self.surface.sources:
            return self.allowed.count, True
        shown, is_all = self._show(self.complete).item_nums, len(self.complete) < MOST_COMPLETE
        if is_whole:
            return max(len(result.items), len(shown)), is_all
        listed = np.concatenate([result.listed, result.items.item_nums, shown])  # bought ones, too
        return len(distinct(listed)), is_all and len(shown) <= MOST_MATCHES

    def run_first(self, most: int | None = None) -> Result:
        """The list of the surface's own candidates, which ends at ``most`` items."""
        return answer_queries([self.query], self.surface, self.state, most)[0]

    def run(self, sort: str) -> Result:
        """The list of a request with an order or filters of its own, before it is in that order.

        Items that match are in it whatever the relevance model says of them: it is complete.

        ``sort`` is as of ``sort_items``; empty = by score.
        """
        query, surface, state = self.query, self.surface, self.state
        if not sort and not len(self.complete):
            return self._run_then_filter()
        matches = self.find(sort)
        if not len(matches):
            result = answer_queries([query], surface, state)[0]
            return _keep_matches(result, matches, {}) if sort else result
        unchecked = RelevanceFilterConfig(enabled=False)
        surface = surface.model_copy(update={"relevance_filter": unchecked})
        also, hits = [matches.item_nums], [matches]
        result = answer_queries([query], surface, state, None, also, hits)[0]
        return _keep_matches(result, matches, find_pins(query, self.allowed, state))

    def append_to(self, result: Result) -> Result:
        """A list with all further items that have every word behind it, as many as facets count.

        The result is whole, of a search without an order or filters of its own.
        """
        items = result.items
        if not len(items) or np.isin(self.complete.item_nums, items.item_nums).all():
            return result
        matches = self.run("").items
        more = matches.split(~np.isin(matches.item_nums, items.item_nums))[0]
        unknown = np.full(len(more), np.nan, np.float32)  # Matches are not checked for relevance.
        columns = {
            name: np.concatenate([column, more.fields.get(name, unknown)])
            for name, column in items.fields.items()
        }
        numbers = np.concatenate([items.item_nums, more.item_nums])
        scores = np.concatenate([items.scores, np.minimum(more.scores, items.scores[-1])])
        whole = ItemList.of_distinct(numbers, scores, columns)
        pins = find_pins(self.query, self.allowed, self.state)
        return replace(result, items=put_pins(whole, pins))

    def _run_then_filter(self) -> Result:
        """What a text finds by some words and by meaning, of it what passes the filters of the
        request: what a source would find among fewer items is not what the facets count.
        """
        unfiltered = replace(self.query, filters=())
        result = answer_queries([unfiltered], self.surface, self.state)[0]
        seen = replace(result.query, filters=self.query.filters)
        pins = find_pins(self.query, self.allowed, self.state)
        items = put_pins(self._show(result.items), pins)
        return replace(result, query=seen, items=items, listed=items.item_nums)


def _unscored(numbers: IntArray) -> ItemList:
    return ItemList.of_distinct(numbers, np.zeros(len(numbers), np.float32))


def _keep_matches(result: Result, matches: ItemList, pins: dict[int, int]) -> Result:
    """The result without items that do not match and are not pinned; without any match, without
    those that only mean the same as others that have a word.
    """
    items = result.items
    words = np.nan_to_num(items.fields.get("bm25", np.zeros(len(items)))) > 0
    keep = np.isin(items.item_nums, matches.item_nums) if len(matches) else words
    keep |= np.isin(items.item_nums, [*pins.values()]) & keep.any()
    return replace(result, items=put_pins(items.split(keep)[0], pins)) if keep.any() else result


def is_browse(request: Request, surface: SurfaceConfig) -> bool:
    """Whether a request is for all items that pass its filters: a search without a text, or a feed
    in an order of its own.
    """
    if not request.filters or request.item_ids or normalise(request.text):
        return False
    return surface.needs == "query" or (surface.task == "home" and bool(request.sort))


def build_browse_surface(surface: SurfaceConfig, home: SurfaceConfig) -> SurfaceConfig:
    """The surface as it answers a category page: its own filters and weights, candidates and
    models of the feed, nothing removed for its relevance and no place given away.

    The sources of the feed need no text.
    """
    own = {name: quota for name, quota in surface.sources.items() if name != WordSource.name}
    feed = {name: quota for name, quota in home.sources.items() if name != SPONSORED}
    changes = {
        "task": "home",
        "context": tuple(part for part in surface.context if part != "query"),
        "sources": {**feed, **own, BrowseSource.name: MOST_MATCHES},
        "popularity_discount": home.popularity_discount,
        "relevance_filter": RelevanceFilterConfig(enabled=False),
        "exploration": None,
    }
    return surface.model_copy(update=changes)
