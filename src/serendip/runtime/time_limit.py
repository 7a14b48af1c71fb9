"""How much of the time for an answer is over, for the stages that compute it.

Whoever has an answer computed sets the limit; where nobody has set one, there is time for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_limit: ContextVar[tuple[float, float] | None] = ContextVar("serendip_time_limit", default=None)


@contextmanager
def time_limit(begin: float, end: float) -> Iterator[None]:
    """Compute an answer in the block, from and until a ``time.monotonic()``."""
    token = _limit.set((begin, end))
    try:
        yield
    finally:
        _limit.reset(token)


def share_of_time() -> float:
    """Share of the time for the present answer that is over: 1 or more = it is late."""
    limit = _limit.get()
    if limit is None:
        return 0.0
    begin, end = limit
    return (time.monotonic() - begin) / (end - begin) if end > begin else 1.0
