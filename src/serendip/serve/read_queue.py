"""Decides which of the requests that wait for a thread are computed, and which are refused.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the queue is bounded, and what nobody waits for any more is not
computed.

A burst may wait, a standing queue may not (Nichols and Jacobson, 2012; Maurer, 2015). A queue
stands if it refuses after it was not empty for ``STANDS_S`` and all but full for half of that: a
burst, however large, leaves room by then. Then those that have waited for longer than ``SHORT_S``
are refused, and from then on at most ``STANDING`` wait: others come soon enough to keep the threads
busy, and whom the queue accepts is answered soon. It stands until the threads have had nothing to
do for a share of ``IDLE`` of a second; how many are refused says nothing, as most of a few that
come together are refused by a queue with one place, however rarely they come.

The refusals are at the entrance, in the thread that accepts requests: none costs a thread that
computes anything, and ``turn_away`` refuses a request before anything else is done for it, even
before it is given to the application (``http_protocol``).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import CurrentRequest

BURST_S = 2.0
"""Seconds that a request waits at most in any queue."""

STANDS_S = BURST_S / 8
"""Seconds for which a queue was not empty, and for half of them all but full, before it stands."""

ROOM = 1 / 8
"""Share of the places that are free, at least, in a queue that is not all but full."""

SHORT_S = BURST_S / 40
"""Seconds after which a request that waits in a queue that begins to stand has waited too long."""

STANDING = 1
"""Requests that wait at most in a standing queue."""

WINDOW_S = 1.0
"""Seconds of which the threads are idle for less than ``IDLE`` as long as a queue stands."""

IDLE = 1 / 4
"""Share of the time for which one thread with one place is idle if it is asked for exactly what it
can compute, at random moments."""


class ReadQueue:
    """The requests of one worker that wait for a thread; thread-safe.

    Args:
        length: number of requests that may wait.
        clock: seconds of a monotonic clock.
        readers: number of requests that are computed at once.
        slow_s: seconds after which one that is computed does not count among them.
    """

    def __init__(
        self,
        length: int,
        clock: Callable[[], float] = time.monotonic,
        readers: int = 1,
        slow_s: float = math.inf,
    ) -> None:
        self._length, self._clock = length, clock
        self._readers, self._slow_s = readers, slow_s
        self._roomy = max(1, length - max(2, int(ROOM * length)))  # fewer wait: not all but full
        self._waiting = 0
        self._begun = list[float]()  # times, of those that are computed
        self._busy_since = self._full_since = math.inf  # not empty; all but full
        self._stands, self._since = False, 0.0
        self._idle_s = self._seen_at = self._window_end = 0.0  # of a queue that stands
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
            self._waiting += 1
            self._busy_since = min(self._busy_since, now)
            if self._waiting >= self._roomy:
                self._full_since = min(self._full_since, now)
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
        now = self._clock()
        waited_s = now - joined_at
        with self._lock:
            self._drop_one()
            is_old = self._stands and joined_at < self._since and waited_s > SHORT_S
        is_late = waited_s > BURST_S or is_old
        if request.client.is_gone:
            raise ClientGoneError("the client has hung up before its request was computed.")
        if is_late:
            raise overload_error("more is asked for than can be computed.")
        with self._lock:
            self._begun.append(now)
        try:
            yield
        finally:
            with self._lock:
                self._measure_idle(self._clock())
                self._begun.remove(now)

    def _drop_one(self) -> None:
        self._measure_idle(self._clock())
        self._waiting -= 1
        if self._waiting < self._roomy:
            self._full_since = math.inf
        if not self._waiting:
            self._busy_since = math.inf

    def _is_full(self, now: float) -> bool:
        """Whether a request that comes now is refused; if so, the queue may stand from now on."""
        self._measure_idle(now)
        if self._stands and self._idle_s >= IDLE * WINDOW_S:
            self._stands = False
        if self._stands and now >= self._window_end:
            self._begin_window(now)
        if self._waiting < (STANDING if self._stands else self._length):
            return False
        is_short = self._length <= STANDING
        is_long = min(now - self._busy_since, 2 * (now - self._full_since)) > STANDS_S
        if is_long and not (is_short or self._stands):
            self._stands, self._since = True, now
            self._begin_window(now)
        return True

    def _measure_idle(self, now: float) -> None:
        """Add the time since the last call in which threads of a standing queue were idle."""
        if self._stands and not self._waiting:
            busy = sum(now - begun <= self._slow_s for begun in self._begun)
            self._idle_s += max(0.0, 1 - busy / self._readers) * (now - self._seen_at)
        self._seen_at = now

    def _begin_window(self, now: float) -> None:
        self._idle_s, self._window_end = 0.0, now + WINDOW_S


def overload_error(message: str) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")
