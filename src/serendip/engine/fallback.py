"""What is answered when a run fails or takes too long: rungs that need less and less.

- content: the sources that know what items are and what their words say, merged by rank fusion: no
  learned models of behaviour, no features, no ranker;
- popular: the most chosen items, and of those that nobody has chosen the newest: no models at all.

The popular rung also answers where the content rung takes too long (``EngineGate.read_or``).

Of the user it is known what is cached: the filters leave out what they rejected or have chosen.
The filters that decide what may be shown are never left out: if they fail, so does the request.
A search has no popular rung (``has_popular_rung``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from serendip.data import ItemList
from serendip.data.query import ITEM_TASKS
from serendip.engine.matches import Matches
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import run_sources
from serendip.engine.stages.sources import BrowseSource, list_popular
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.errors import LateError

PERSONAL, CONTENT, POPULAR = "personal", "content-only", "popular"
FALLBACKS: Final = (CONTENT, POPULAR)  # rungs in the order in which they are tried
LABELS: Mapping[str, str] = {
    PERSONAL: "what was learned from behaviour",
    CONTENT: "what is alike",
}


def has_popular_rung(surface: SurfaceConfig) -> bool:
    """Whether items that are popular are an answer: not to a search, which they do not match."""
    return surface.task != "search"


_CONTENT_SOURCES: Final = ("words", "content", "popular-country")
_SHORTLIST = 2_000  # items of the popular rung that are returned where all are asked for
_FUSED = 200  # candidates of each source of the content rung


def fall_back(
    matches: Matches, wanted: int, request: Request, rung: str = CONTENT
) -> tuple[ItemList, tuple[str, ...]]:
    """Items from a rung, or the next one that has any, and the names of the rungs above it.

    Args:
        matches: of the query, with a past of the user only if that was in memory.
        wanted: number of items, from the first position on; more of a whole list.
        request: whose order needs no model, and may be of the whole list.
        rung: of ``FALLBACKS``, from which on they are tried.

    Raises:
        LateError: a search without the content rung.
    """
    if rung == CONTENT:
        items = _try_content(matches, request.sort)
        if len(items):
            return items, (PERSONAL,)
    elif not has_popular_rung(matches.surface):
        raise LateError("the search takes too long.", "Try again in a moment.")
    items = ItemList()
    if has_popular_rung(matches.surface):
        most = max(wanted, _SHORTLIST) if request.sort or request.facets else wanted
        items = list_popular(matches.allowed, matches.state, most)
    return items, (PERSONAL, CONTENT)


def _try_content(matches: Matches, sort: str) -> ItemList:
    try:
        found = matches.find(sort) if sort else ItemList()
        if len(found):
            return ItemList.of_distinct(found.item_nums, np.zeros(len(found), np.float32))
        return _run_content(matches)
    except Exception:  # noqa: BLE001 - whatever fails here is not needed by the next rung
        return ItemList()


def _run_content(matches: Matches) -> ItemList:
    surface, state = matches.surface, matches.state
    sources: dict[str, int] = {name: _FUSED for name in _CONTENT_SOURCES if name in surface.sources}
    if BrowseSource.name in surface.sources:
        sources[BrowseSource.name] = surface.sources[BrowseSource.name]
    if surface.task in ITEM_TASKS:
        sources["content"] = _FUSED
    if "content" not in state.models:
        sources.pop("content", None)
    if not sources:
        return ItemList()
    fewer = surface.model_copy(update={"sources": sources})
    return run_sources([matches.query], fewer, state)[0]
