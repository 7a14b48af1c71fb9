"""What the service answers when the engine fails: lists of each rung of ``engine.fallback``.

What a rung costs is the difference between the engine and it. The past of users counts as cached,
as of those whose last request the engine answered; to others a feed shows the popular rung, or what
is popular in their country.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.events.event import NO_SESSION
from serendip.data.query import Query
from serendip.engine.fallback import has_popular_rung, run_content
from serendip.engine.stages.pipeline import find_allowed
from serendip.engine.stages.popular import order_popular, take_allowed
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.surface_quality import K
from serendip.jobs.surface_quality.answers import BATCH, first_items

CONTENT_RUNG, POPULAR_RUNG, NEWEST_RUNG = "content rung", "popular rung", "newest rung"


def rank_rungs(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState, length: int = K
) -> dict[str, IntArray]:
    """Answer queries from every rung below the engine.

    The content rung is what is answered when the engine fails: of the popular rung where content
    finds nothing. The popular rung is what is answered when content fails, too. Its order is the
    newest first where nothing has been chosen yet: that is the newest rung. Searches have the first
    alone.

    Args:
        queries: T queries.
        surface: of the queries.
        state: to answer from.
        length: number of items, at most 10.

    Returns:
        rung -> (T, 10) item numbers, padded with -1.
    """
    cached = [_keep_cached(query) for query in queries]
    content = _rank_by_content(cached, surface, state, length)
    if not has_popular_rung(surface):
        return {CONTENT_RUNG: content}
    popular = _rank_by_counts(cached, surface, state, length)
    is_empty = content[:, 0] < 0
    content[is_empty] = popular[POPULAR_RUNG][is_empty]
    return {CONTENT_RUNG: content, **popular}


def _rank_by_content(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState, length: int
) -> IntArray:
    """The first items (T, 10) that content finds."""
    parts = [np.empty((0, K), np.int32)]
    for begin in range(0, len(queries), BATCH):
        parts.append(first_items(run_content(queries[begin : begin + BATCH], surface, state)))
    found = np.concatenate(parts)
    found[:, length:] = -1
    return found


def _rank_by_counts(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState, length: int
) -> dict[str, IntArray]:
    """The first items (T, 10) of the popular and of the newest rung, whose orders all share."""
    unchosen = replace(state, counts=np.zeros_like(state.counts))
    orders = {POPULAR_RUNG: order_popular(state), NEWEST_RUNG: order_popular(unchosen)}
    rungs = {name: np.full((len(queries), K), -1, np.int32) for name in orders}
    for row, query in enumerate(queries):
        allowed = find_allowed(query, surface, state)
        for name, order in orders.items():
            items = take_allowed(order, allowed, length)
            rungs[name][row, : len(items)] = items
    return rungs


def _keep_cached(query: Query) -> Query:
    """What is known of a query without the store and the encoder, as ``build_from_memory`` says."""
    return replace(
        query,
        text_vector=None,
        meant="",
        again=NO_ITEMS,
        session=NO_SESSION,
        user_groups={},
    )
