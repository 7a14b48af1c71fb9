"""Category pages: requests with filters and nothing typed, for all items that pass the filters.

What a surface proposes by a text, or as a feed, is not what somebody means who chooses a category:
then every item in it may come, in the engine's order or one by a number.
"""

from __future__ import annotations

from serendip.data.text import normalise
from serendip.engine.matches import MOST_MATCHES
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import RelevanceFilterConfig
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.stages.surfaces import SurfaceConfig


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

    Args:
        surface: of the request.
        home: the feed, whose sources need no text.
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
