"""What the service answers when the engine fails: lists of each rung of ``engine.fallback``.

What a rung costs is the difference between the engine and it. The past of users counts as cached,
as of those whose last request the engine answered; of others the content rung knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.events.event import NO_SESSION
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.engine.fallback import fall_back, has_popular_rung, run_popular
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.surface_quality import K
from serendip.jobs.surface_quality.answers import first_items

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

    def rank(answer: Callable[[Query], ItemList]) -> IntArray:
        lists = first_items([answer(query) for query in cached])
        lists[:, length:] = -1
        return lists

    rungs = {CONTENT_RUNG: rank(lambda query: fall_back(query, surface, state, length)[0])}
    if not has_popular_rung(surface):
        return rungs
    unchosen = replace(state, counts=np.zeros_like(state.counts))
    return {
        **rungs,
        POPULAR_RUNG: rank(lambda query: run_popular(query, surface, state, length)),
        NEWEST_RUNG: rank(lambda query: run_popular(query, surface, unchosen, length)),
    }


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
