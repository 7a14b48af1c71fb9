"""Decides which of the requests that wait for a thread are computed, and which are refused.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the queue is bounded, and what nobody waits for any more is not
computed.

A burst may wait, a standing queue may not (Nichols and Jacobson, 2012; Maurer, 2015). A queue
stands if it is full after more requests came than ``BURSTS`` times as many as may wait, and it was
never empty meanwhile: no burst that there is room for is the cause, more comes than can be
computed. Then all that wait are refused, as they have waited for long, and from then on at most
``STANDING`` wait: others come soon enough to keep the threads busy, and whom the queue accepts is
answered soon. It stands until so few are refused that all could be computed.

The refusals are at the entrance, in the thread that accepts requests: none costs a thread that
computes anything, and ``turn_away`` refuses a request before anything else is done for it, even
before it is given to the application (``http_protocol``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import CurrentRequest

BURST_S = 2.0
"""Seconds that a request waits at most in any queue."""

BURSTS = 2
"""Times as many requests as may wait, after which a queue that is full and was not empty stands."""

STANDING = 1
"""Requests that wait at most in a standing queue."""

WINDOW_S = 1.0
"""Seconds after which it is looked how many requests a standing queue refuses."""

CALM = 1 / 3
"""Share of refusals up to which as many may wait again as in a burst: that of one thread with one
place that is asked for exactly what it can compute, at random moments."""


class ReadQueue:
    """The requests of one worker that wait for a thread; thread-safe.

    Args:
        length: number of requests that may wait.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, length: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._length, self._clock = length, clock
        self._waiting = 0
        self._came = self._refused = 0  # since the queue was empty; if it stands, in this window
        self._stands, self._since, self._window_end = False, 0.0, 0.0
        self._lock = threading.Lock()

    def join(self) -> float:
        """Let a request wait, and return the time at which it came.

        Raises:
            OverloadError: too many wait.
        """
        now = self._clock()
        with self._lock:
            if self._is_full(now):
                raise overload_error(f"{self._waiting} requests are waiting to be computed.")
            self._came += 1
            self._waiting += 1
        return now

    def turn_away(self) -> bool:
        """Refuse a request that has not been read yet, if it could not join; whether it is."""
        with self._lock:
            return self._is_full(self._clock())

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
        waited_s = self._clock() - joined_at
        with self._lock:
            self._drop_one()
            is_late = waited_s > BURST_S or (self._stands and joined_at < self._since)
        if request.client.is_gone:
            raise ClientGoneError("the client has hung up before its request was computed.")
        if is_late:
            raise overload_error("more is asked for than can be computed.")
        yield

    def _drop_one(self) -> None:
        self._waiting -= 1
        if not self._waiting and not self._stands:
            self._came = self._refused = 0

    def _is_full(self, now: float) -> bool:
        """Whether a request that comes now is refused; if so, it is counted."""
        if self._stands and now >= self._window_end:
            is_quiet = now >= self._window_end + WINDOW_S
            self._stands = not is_quiet and self._refused > CALM * self._came
            self._begin_window(now)
        most = STANDING if self._stands else self._length
        if self._waiting < most:
            return False
        self._came += 1
        self._refused += 1
        is_short = self._length <= STANDING
        if not (is_short or self._stands) and self._came > BURSTS * self._length:
            self._stands, self._since = True, now
            self._begin_window(now)
        return True

    def _begin_window(self, now: float) -> None:
        self._came = self._refused = 0
        self._window_end = now + WINDOW_S


def overload_error(message: str) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")
