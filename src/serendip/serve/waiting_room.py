"""Decides which of the requests that wait are computed, and which are refused; computes them.

A service that computes everything it is asked for answers everybody too late once it is asked for
more than it can compute. So the room in which requests wait is bounded. A burst may fill it; a
queue that stays may not (Nichols and Jacobson, 2012; Maurer, 2015): once the room has refused for
``PATIENCE_S`` without becoming half empty, one request may wait, and those that came before it are
refused. That ends when hardly more come than are computed, or nobody comes for a moment. How long a
thread is idle would not tell: on a busy machine it waits for its processor. A room that is not full
refuses nobody.

Clients go where they are answered soon, if only to be refused, so a worker that refuses gets most
of what comes to a service, and the others seem to have enough to do: while one room is small, all
rooms of the service are (``SharedState.overloaded_at``).

The oldest request is computed first; in a room that refuses, the newest, whose client is surely
still there. What has waited for ``BURST_S``, or whose client has hung up, is not computed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.shared_state import SharedState

BURST_S = 2.0
"""Seconds that a request waits at most."""

PATIENCE_S = 0.125
"""Seconds for which a room refuses before it shrinks."""

COMPUTED, CAME = 32, 40
"""A room has its size again if at most so many came while so many were computed."""

QUIET_S = 0.2
"""Seconds without a request after which a room has its size again, and without a refusal after
which its oldest request is computed first."""


@dataclass(slots=True, eq=False)
class WaitingCall:
    """A request that waits to be computed.

    Args:
        compute: what is to be done, in a thread.
        is_gone: whether nobody waits for it any more.
        came: seconds of a monotonic clock.
        result: becomes what was computed, or the error.
    """

    compute: Callable[[], Any]
    is_gone: Callable[[], bool] = lambda: False
    came: float = field(default_factory=time.monotonic)
    result: Future[Any] = field(default_factory=Future)

    def __call__(self) -> None:
        """Compute it."""
        try:
            self.result.set_result(self.compute())
        except BaseException as error:  # noqa: BLE001 - who waits for the result raises it
            self.result.set_exception(error)


class WaitingRoom:
    """The requests of one worker that wait for one of some threads; thread-safe.

    A thread that hangs cannot be ended: the threads are daemons, so that their process can end.

    Args:
        length: number of requests that may wait.
        shared: says when a room of the service that has shrunk refused last; None = no other room
            counts.
        clock: seconds of a monotonic clock.
        threads: number of threads, which begin with the first request.
        name: of the threads.
        sheds: whether those that wait may be refused; if not, the oldest is always the next.
    """

    def __init__(
        self,
        length: int,
        shared: SharedState | None = None,
        clock: Callable[[], float] = time.monotonic,
        threads: int = 0,
        name: str = "",
        sheds: bool = True,
    ) -> None:
        self.length, self._sheds = length, sheds
        self._shared, self._clock = shared or SharedState(), clock
        self._threads, self._name = threads, name
        self._begun: list[float] | None = None  # by thread, when its request was begun
        self._waiting = deque[WaitingCall]()
        self._refuses_since = math.inf  # of a room that has not been half empty since
        self._refused_at = -math.inf
        self._has_shrunk = False
        self._came = self._computed = 0  # since it shrank, or was looked at last
        self._came_at = 0.0
        self._turn = threading.Condition(threading.Lock())

    def join(self, call: WaitingCall) -> None:
        """Let a request wait.

        Raises:
            OverloadError: the room is full.
        """
        with self._turn:
            now = self._clock()
            if self._is_full(now):
                raise overload_error(f"{len(self._waiting)} requests are waiting to be computed.")
            self._came, self._came_at = self._came + 1, now
            self._waiting.append(call)
            self._turn.notify()
            if self._begun is None:
                self._begun = [math.inf] * self._threads
                for number in range(self._threads):
                    name = f"{self._name}_{number}"
                    threading.Thread(
                        target=self._work, args=(number, self._begun), name=name, daemon=True
                    ).start()

    def turn_away(self) -> bool:
        """Refuse a request that has not been read yet, if the room is full; whether it is."""
        with self._turn:
            return self._is_full(self._clock())

    def leave(self, call: WaitingCall) -> None:
        """Let a request go that nobody waits for, if it was not taken up."""
        with self._turn:
            if call in self._waiting:
                self._waiting.remove(call)

    def withdraw(
        self, choose: Callable[[Iterable[WaitingCall]], WaitingCall | None]
    ) -> WaitingCall | None:
        """Take one of those that wait, which is then computed beside another one; None = none."""
        while True:
            with self._turn:
                call = choose(self._waiting)
                if call is None:
                    return None
                self._waiting.remove(call)
            if call.result.set_running_or_notify_cancel():
                return call

    def take(self) -> WaitingCall:
        """Wait for a request that is to be computed, in a thread."""
        while True:
            with self._turn:
                self._refuse_old()
                while not self._waiting:
                    self._turn.wait()
                    self._refuse_old()
                is_refusing = self._clock() - self._refused_at < QUIET_S
                call = self._waiting.pop() if is_refusing else self._waiting.popleft()
                if len(self._waiting) < self._bound(self._clock()) / 2:
                    self._refuses_since = math.inf
                self._computed += 1
            if not call.result.set_running_or_notify_cancel():
                continue
            if not call.is_gone():
                return call
            call.result.set_exception(ClientGoneError("the client has hung up."))

    def is_hung(self, seconds: float) -> bool:
        """Whether all threads have computed one request for so long."""
        return bool(self._begun) and max(self._begun or ()) < self._clock() - seconds

    def _work(self, number: int, begun: list[float]) -> None:
        while True:
            call = self.take()
            begun[number] = self._clock()
            call()
            begun[number] = math.inf
            del call

    def _bound(self, now: float) -> int:
        """Number of requests that may wait now."""
        is_small = self._has_shrunk or now - self._shared.overloaded_at[0] < QUIET_S
        return 1 if is_small else self.length

    def _is_full(self, now: float) -> bool:
        """Whether a request that comes now is refused; if so, the room may shrink."""
        if now - self._came_at > QUIET_S:
            self._has_shrunk = False
        if self._computed >= COMPUTED:
            self._has_shrunk = self._has_shrunk and self._came > CAME
            self._came = self._computed = 0
        if len(self._waiting) < self._bound(now):
            return False
        if not self._sheds:
            return True
        self._came, self._came_at, self._refused_at = self._came + 1, now, now
        self._refuses_since = min(self._refuses_since, now)
        if self._has_shrunk:
            self._shared.overloaded_at[0] = now
        elif now - self._refuses_since > PATIENCE_S:
            self._has_shrunk, self._came, self._computed = True, 0, 0
            self._refuse_old()
        return True

    def _refuse_old(self) -> None:
        """Refuse what has waited for too long, and more than may wait."""
        now = self._clock()
        while (
            self._sheds
            and self._waiting
            and (len(self._waiting) > self._bound(now) or now - self._waiting[0].came > BURST_S)
        ):
            call = self._waiting.popleft()
            if call.result.set_running_or_notify_cancel():
                call.result.set_exception(overload_error("more is asked for than can be computed."))


def overload_error(message: str) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")
