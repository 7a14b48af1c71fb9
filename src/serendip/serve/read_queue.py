"""Decides which of the requests that wait for a thread are computed, and which are refused.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the queue is bounded in length and in time, and what nobody waits for
any more is not computed.

The bound in time is controlled delay (Nichols and Jacobson, 2012), as Maurer (2015) applies it to
servers: a burst may wait, but once the queue has not been empty for the time of ``STANDS_AFTER``
requests it stands, and only what has waited for less than the time of ``STANDING`` requests is
computed, besides the last one in the queue. Answers then stay fast at any load, and a queue never
grows old. How long a request takes is measured, so that the bounds fit any catalogue and machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import CurrentRequest

STANDS_AFTER, STANDING = 6.0, 0.25
"""In times that a request takes on average."""

_STANDS_AFTER_S, _STANDING_S = (0.5, 2.0), (0.002, 0.2)
"""The least and the most of both, in seconds."""

BURST_S = 2.0
"""Seconds that a request waits at most while the queue does not stand."""

_FIRST_MEAN_S = 0.05
_WEIGHT = 0.05
"""Of the newest request in the moving average."""


class ReadQueue:
    """The requests of one worker that wait for a thread; thread-safe.

    Args:
        length: number of requests that may wait.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, length: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._length, self._clock = length, clock
        self._waiting = 0
        self._empty_at = clock()
        self._mean_s = _FIRST_MEAN_S
        self._lock = threading.Lock()

    def join(self) -> float:
        """Let a request wait, and return the time at which it came.

        Raises:
            OverloadError: too many wait.
        """
        now = self._clock()
        with self._lock:
            if self._waiting >= self._length:
                raise _overload(f"{self._length} requests are waiting to be computed.")
            if not self._waiting:
                self._empty_at = now
            self._waiting += 1
        return now

    def give_up(self) -> None:
        """Let a request go that has not been taken up."""
        with self._lock:
            self._waiting -= 1

    @contextmanager
    def leave(self, joined_at: float, request: CurrentRequest) -> Iterator[None]:
        """Compute a request in the block, in a thread.

        Args:
            joined_at: what ``join`` returned.
            request: that waited.

        Raises:
            OverloadError: it has waited too long.
            ClientGoneError: its client has hung up.
        """
        begun = self._clock()
        with self._lock:
            self._waiting -= 1
            patience_s = self._patience(begun)
            if not self._waiting:
                self._empty_at = begun
        if request.client.is_gone:
            raise ClientGoneError("the client has hung up before its request was computed.")
        if begun - joined_at > patience_s:
            raise _overload("more is asked for than can be computed.")
        try:
            yield
        finally:
            seconds = self._clock() - begun
            with self._lock:
                self._mean_s += _WEIGHT * (seconds - self._mean_s)

    def _patience(self, now: float) -> float:
        """Seconds that a request which leaves may have waited."""
        stands_after_s = _clamp(STANDS_AFTER * self._mean_s, _STANDS_AFTER_S)
        if not self._waiting or now - self._empty_at <= stands_after_s:
            return BURST_S
        return _clamp(STANDING * self._mean_s, _STANDING_S)


def _clamp(seconds: float, limits: tuple[float, float]) -> float:
    return max(limits[0], min(seconds, limits[1]))


def _overload(message: str) -> OverloadError:
    return OverloadError(message, "Try again in a moment, or run more workers.")
