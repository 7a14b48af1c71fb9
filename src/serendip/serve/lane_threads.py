"""Threads that compute requests, of which one that hangs is replaced.

No thread can be ended from outside: one that waits for a disk or a lock that never comes keeps its
place for ever. So a call that has run for ``stuck_s`` loses its place: another thread takes it, and
the stuck one ends when its call does. Only so many may be stuck; then the process has to be
replaced, and ``is_hung`` says so. The threads are daemons: the process ends beside stuck ones.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
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
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        name: str,
        number: int,
        stuck_s: float = math.inf,
        most_stuck: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._number = name, number
        self._stuck_s, self._most_stuck, self._clock = stuck_s, most_stuck, clock
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._waiting = 0
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
            self._tasks.put(run)
            self._waiting += 1
            new = self._replace_stuck()
            if self._waiting > self._idle and len(self._threads) < self._number:
                new.append(self._add_thread())
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

    def _work(self) -> None:
        thread = threading.current_thread()
        while True:
            with self._lock:
                if thread in self._stuck:
                    self._stuck.remove(thread)
                    return
                self._idle += 1
            task = self._tasks.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= 1
                self._begun[thread] = self._clock()
            task()
            del task
            with self._lock:
                del self._begun[thread]
