"""What a surface reads of a request; the rest does not reach the models."""

from __future__ import annotations

import math
from dataclasses import replace

from serendip.data.arrays import NO_ITEMS
from serendip.data.query import History, Query
from serendip.data.rejections import Rejected
from serendip.engine.surfaces import SurfaceConfig


def read_by(surface: SurfaceConfig, query: Query) -> Query:
    """The request as the surface reads it: as its task, without what its context does not name."""
    reads = surface.context
    if "user" not in reads:
        query = replace(query, user_id="", history=History(), rejected=Rejected())
    if "query" not in reads:
        query = replace(query, text="", meant="", text_vector=None)
    if "items" not in reads:
        query = replace(query, source_items=NO_ITEMS)
    return replace(
        query,
        surface=surface.task,
        country=query.country if "country" in reads else "",
        time=query.time if "time" in reads else math.nan,
    )
