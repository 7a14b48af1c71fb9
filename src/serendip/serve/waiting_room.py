"""Decides which of the requests that wait are computed, and which are refused.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the room in which requests wait is bounded. A burst may fill it; a
queue that stays may not (Nichols and Jacobson, 2012; Maurer, 2015): once the room has refused for
``PATIENCE_S`` without becoming half empty, one request may wait, and those that came before it are
refused. That ends when hardly more come than are computed, or nobody comes for a moment. How long a
thread is idle would not tell: on a busy machine it waits for its processor. A room that is not full
refuses nobody.

The oldest request is computed first; in a room that refuses, the newest, whose client is surely
still there. What has waited for ``BURST_S``, or whose client has hung up, is not computed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import Client

BURST_S = 2.0
"""Seconds that a request waits at most."""

PATIENCE_S = 0.125
"""Seconds for which a room refuses before it shrinks."""

COMPUTED, CAME = 32, 40
"""A room has its size again if at most so many came while so many were computed."""

QUIET_S = 0.2
"""Seconds without a request after which a room has its size again."""


@dataclass(slots=True, eq=False)
class Visit:
    """A request that waits to be computed.

    Args:
        compute: what is to be done, in a thread.
        client: that waits for it.
        came: seconds of the room's clock.
        result: becomes what was computed, or the error.
    """

    compute: Callable[[], Any]
    client: Client
    came: float
    result: Future[Any] = field(default_factory=Future)

    def __call__(self) -> None:
        """Compute it."""
        try:
            self.result.set_result(self.compute())
        except BaseException as error:  # noqa: BLE001 - who waits for the result raises it
            self.result.set_exception(error)


class WaitingRoom:
    """The requests of one process that wait for a thread; thread-safe.

    Args:
        length: number of requests that may wait.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, length: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._length, self._bound, self._clock = length, length, clock
        self._waiting = deque[Visit]()
        self._refuses_since = math.inf  # in a room that has not been half empty since
        self._came = self._computed = 0  # since it shrank, or was looked at last
        self._came_at = 0.0
        self._lock = threading.Lock()
        self._turn = threading.Condition(self._lock)

    def join(self, visit: Visit) -> None:
        """Let a request wait.

        Raises:
            OverloadError: the room is full.
        """
        with self._lock:
            if self._is_full():
                raise overload_error(f"{len(self._waiting)} requests are waiting to be computed.")
            self._note_arrival()
            self._waiting.append(visit)
            self._turn.notify()

    def turn_away(self) -> bool:
        """Refuse a request that has not been read yet, if the room is full; whether it is."""
        with self._lock:
            return self._is_full()

    def leave(self, visit: Visit) -> None:
        """Let a request go that nobody waits for, if it was not taken up."""
        with self._lock:
            if visit in self._waiting:
                self._waiting.remove(visit)

    def take(self) -> Visit:
        """Wait for a request that is to be computed, in a thread."""
        while True:
            visit = self._take_next()
            if not visit.result.set_running_or_notify_cancel():
                continue
            if visit.client.is_gone:
                visit.result.set_exception(ClientGoneError("the client has hung up."))
            elif self._clock() - visit.came > BURST_S:
                visit.result.set_exception(overload_error("more is asked for than is possible."))
            else:
                return visit

    def _take_next(self) -> Visit:
        with self._turn:
            while not self._waiting:
                self._turn.wait()
            is_refusing = self._refuses_since < math.inf
            visit = self._waiting.pop() if is_refusing else self._waiting.popleft()
            if len(self._waiting) < self._bound / 2:
                self._refuses_since = math.inf
            self._computed += 1
            return visit

    def _note_arrival(self) -> None:
        """Count a request, and let a room that has shrunk have its size again if it is time."""
        now = self._clock()
        self._came += 1
        is_over = now - self._came_at > QUIET_S
        self._came_at = now
        if self._computed >= COMPUTED:
            is_over = is_over or self._came <= CAME
            self._came = self._computed = 0
        if is_over:
            self._bound = self._length

    def _is_full(self) -> bool:
        """Whether a request that comes now is refused; if so, the room may shrink."""
        if len(self._waiting) < self._bound:
            return False
        self._note_arrival()
        if len(self._waiting) < self._bound:
            self._came -= 1  # it is counted when it joins
            return False
        now = self._clock()
        self._refuses_since = min(self._refuses_since, now)
        if now - self._refuses_since > PATIENCE_S and self._bound > 1:
            self._bound, self._came, self._computed = 1, 0, 0
            while len(self._waiting) > 1:
                self._refuse(self._waiting.popleft())
        return True

    def _refuse(self, visit: Visit) -> None:
        if visit.result.set_running_or_notify_cancel():
            visit.result.set_exception(overload_error("more is asked for than can be computed."))


def overload_error(message: str) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")
