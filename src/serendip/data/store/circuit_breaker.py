"""Circuit breaker of the connections to a server: while it is silent, one attempt at a time waits.

A server that is away refuses at once. One that is silent, as a machine without power or behind a
network that is cut, keeps everybody waiting who connects: threads that wait for one another would
wait for minutes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SILENT_S = 1.0
"""An attempt that fails after more seconds than this has met a silent server."""

REST_S = 2.0
"""Seconds that all attempts fail at once after one has met a silent server."""

_CLOSED = -math.inf


class CircuitBreaker:
    """Lets attempts to connect fail at once while a server is silent; thread-safe.

    After a rest one of them tries again; the others go on failing until it has ended.

    Args:
        refusal: builds the error of an attempt that is not made.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self, refusal: Callable[[], Exception], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._refusal, self._clock = refusal, clock
        self._lock = threading.Lock()
        self._retry_at = _CLOSED

    def call(self, connect: Callable[[], T]) -> T:
        """The result of an attempt.

        Raises:
            Exception: of the attempt, or the refusal.
        """
        with self._lock:
            if self._retry_at != _CLOSED:
                if self._clock() < self._retry_at:
                    raise self._refusal()
                self._retry_at = math.inf
        begin = self._clock()
        try:
            result = connect()
        except BaseException:
            end = self._clock()
            self._retry_at = end + REST_S if end - begin > SILENT_S else _CLOSED
            raise
        self._retry_at = _CLOSED
        return result
