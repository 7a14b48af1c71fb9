"""Answers of jobs, from which nothing may be missing.

A request is answered without a stage that fails, which its answer says. In a file of answers, or in
a figure about them, nobody would see it.
"""

from __future__ import annotations

from collections.abc import Sequence

from serendip.data.query import Query
from serendip.engine.stages.list_filters import RelevanceFilter
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.errors import UnsupportedError

BATCH = 64
"""Queries that are answered together."""

_AGAIN = (
    "Run the command again; if this comes again, `serendip doctor` checks the files and `serendip "
    "train` makes a generation that fits the settings."
)
_NO_MODEL = (
    "Make its model with `serendip judge distil` and `serendip train`, or take the threshold out "
    "of the surface's `relevance_filter`."
)


def answer_whole(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> list[Result]:
    """Answer any number of queries of one surface, as ``pipeline.answer_queries`` does, with all
    stages.

    Raises:
        UnsupportedError: a stage failed.
    """
    results = list[Result]()
    for begin in range(0, len(queries), BATCH):
        results += answer_queries(queries[begin : begin + BATCH], surface, state)
        require_whole(results[begin:])
    return results


def require_whole(results: Sequence[Result]) -> None:
    """Refuse answers that lack a stage.

    Raises:
        UnsupportedError: one does; it names the user and the stages.
    """
    for result in results:
        if not result.degraded:
            continue
        failed, user = list(dict.fromkeys(result.degraded)), result.query.user_id
        asked = f"user {user!r}" if user else "a request without a user"
        raise UnsupportedError(
            f"the answer of {result.surface.task!r} to {asked} lacks what failed: "
            f"{', '.join(failed)}.",
            _NO_MODEL if failed == [RelevanceFilter.name] else _AGAIN,
        )
