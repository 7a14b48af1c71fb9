"""Decides which of the requests that wait for a thread are computed, and which are refused.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the queue is bounded in length and in time, and what nobody waits for
any more is not computed.

The bound in time is controlled delay (Nichols and Jacobson, 2012), as Maurer (2015) applies it to
servers: a burst may wait, a standing queue may not. A queue stands, that is, it stays although work
goes on, once it has not been empty while more requests were taken up than may wait. All that waited
at the beginning has gone by then, so no burst is the cause: more comes than can be computed. Then
only what has waited for less than the time of ``STANDING`` requests is computed, besides the last
one in the queue. How long a request takes is measured, so that this fits any catalogue and machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import CurrentRequest

STANDING = 2.0
"""Times that a request takes on average, for which another waits at most in a standing queue."""

_STANDING_S = (0.002, 0.2)
"""The least and the most of it, in seconds."""

BURST_S = 2.0
"""Seconds that a request waits at most in any queue."""

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
        self._taken = 0  # since the queue was empty
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
            self._waiting += 1
        return now

    def give_up(self) -> None:
        """Let a request go that has not been taken up."""
        with self._lock:
            self._drop_one()

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
            self._drop_one()
            self._taken += 1 if self._waiting else 0
            patience_s = self._patience()
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

    def _drop_one(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._taken = 0

    def _patience(self) -> float:
        """Seconds that a request which leaves may have waited."""
        if self._taken <= self._length:
            return BURST_S
        least_s, most_s = _STANDING_S
        return max(least_s, min(STANDING * self._mean_s, most_s))


def _overload(message: str) -> OverloadError:
    return OverloadError(message, "Try again in a moment, or run more workers.")
