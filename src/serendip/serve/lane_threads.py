"""Threads that compute requests, of which one that hangs is replaced.

No thread can be ended from outside: one that waits for a disk or a lock that never comes keeps its
place for ever. So a call that has run for ``stuck_s`` loses its place: another thread takes it, and
the stuck one ends when its call does. Only so many may be stuck; then the process has to be
replaced, and ``is_hung`` says so. The threads are daemons: the process ends beside stuck ones.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Task = Callable[[], None]


class LaneThreads:
    """A fixed number of threads with a queue; thread-safe.

    Args:
        name: of the threads.
        number: of threads that work.
        stuck_s: seconds after which a running call loses its place; infinite = never.
        most_stuck: number of stuck threads that are replaced.
        at_once: calls that run at the same time, as long as none is slow; None = ``number``.
        slow_s: seconds after which a running call does not count among them.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        name: str,
        number: int,
        stuck_s: float = math.inf,
        most_stuck: int = 0,
        at_once: int | None = None,
        slow_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._number = name, number
        self._stuck_s, self._most_stuck, self._clock = stuck_s, most_stuck, clock
        self._at_once, self._slow_s = number if at_once is None else at_once, slow_s
        self._tasks = deque[Task]()
        self._lock = threading.Lock()
        self._turn = threading.Condition(self._lock)
        self._idle = 0
        self._is_watched = False  # whether an idle thread waits until a running call is slow
        self._begun: dict[threading.Thread, float] = {}  # of those that work
        self._threads = set[threading.Thread]()  # that have a place
        self._stuck = set[threading.Thread]()

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let a thread run a call; a future that is cancelled before is not run."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - who waits for the future raises it
                future.set_exception(error)

        with self._lock:
            self._tasks.append(run)
            new = self._replace_stuck()
            if len(self._tasks) > self._idle and len(self._threads) < self._number:
                new.append(self._add_thread())
            if not self._is_watched or self._seconds_until_turn() <= 0:
                self._turn.notify()
        for thread in new:  # outside the lock, which it takes first of all
            thread.start()
        return future

    @property
    def is_hung(self) -> bool:
        """Whether all threads are stuck, so many that none is replaced any more."""
        with self._lock:
            new, late = self._replace_stuck(), self._late()
            is_hung = len(self._threads) == self._number and len(late) == self._number
        for thread in new:
            thread.start()
        return is_hung

    def _late(self) -> list[threading.Thread]:
        now = self._clock()
        return [one for one in self._threads if now - self._begun.get(one, now) > self._stuck_s]

    def _replace_stuck(self) -> list[threading.Thread]:
        """Take the places of stuck threads away; the threads that have them now, to be started."""
        new = list[threading.Thread]()
        for thread in self._late()[: self._most_stuck - len(self._stuck)]:
            _log.error("a %s takes more than %g s and is replaced", self._name, self._stuck_s)
            self._threads.remove(thread)
            self._stuck.add(thread)
            new.append(self._add_thread())
        return new

    def _add_thread(self) -> threading.Thread:
        number = len(self._threads) + len(self._stuck)
        thread = threading.Thread(target=self._work, name=f"{self._name}_{number}", daemon=True)
        self._threads.add(thread)
        return thread

    def _seconds_until_turn(self) -> float:
        """Seconds until another call may begin, if none ends before; 0 = now."""
        begun = (self._begun[one] for one in self._threads if one in self._begun)
        slow_at = sorted(begun_at + self._slow_s for begun_at in begun)
        in_the_way = len(slow_at) - self._at_once  # the last of the first so many must be slow
        return 0.0 if in_the_way < 0 else max(0.0, slow_at[in_the_way] - self._clock())

    def _work(self) -> None:
        thread = threading.current_thread()
        while (task := self._take(thread)) is not None:
            task()
            del task
            with self._lock:
                del self._begun[thread]

    def _take(self, thread: threading.Thread) -> Task | None:
        """Wait for a task and for the turn to run it; None = another thread has the place."""
        with self._turn:
            if thread in self._stuck:
                self._stuck.remove(thread)
                return None
            self._idle += 1
            while not self._tasks or (seconds := self._seconds_until_turn()) > 0:
                self._wait(seconds if self._tasks else math.inf)
            self._idle -= 1
            self._begun[thread] = self._clock()
            task = self._tasks.popleft()
            if self._tasks and not self._is_watched:
                self._turn.notify()
            return task

    def _wait(self, seconds: float) -> None:
        """Wait until something ends or comes; one idle thread for so many seconds at most."""
        if self._is_watched or seconds == math.inf:
            self._turn.wait()
            return
        self._is_watched = True
        self._turn.wait(seconds)
        self._is_watched = False
