"""A process beside this one that gives way to it and ends with it, and one for what recurs."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Generic, TypeVar

from serendip.runtime.executor import blocked_interrupts, end_with_parent
from serendip.runtime.threads import limit_threads

_log = logging.getLogger(__name__)

Task = TypeVar("Task")

_NICEST = 19
_STOP_S = 10.0
_RETRY_S = 30.0


class BackgroundProcess(Generic[Task]):
    """Runs a function in a separate process of low priority.

    The process leaves Ctrl-C to its parent, and ends if the parent ends in any way.

    Args:
        nice: added to the niceness of this process; 19 = the lowest priority.
    """

    def __init__(self, work: Callable[[Task], None], task: Task, nice: int = _NICEST) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_run, args=(work, task, nice), daemon=True)
        self._lock = threading.Lock()
        self.is_stopped = False

    def run(self) -> int:
        """Start the process and wait for its end; the exit code, 0 = the function returned.

        After ``stop`` nothing is started.
        """
        with self._lock:
            if self.is_stopped:
                return 0
            with blocked_interrupts():
                self._process.start()
        self._process.join()
        return self._process.exitcode or 0

    def stop(self) -> None:
        """End the process if it runs: its ``with`` blocks are left, within ten seconds."""
        with self._lock:
            self.is_stopped = True
        if self._process.pid is None:
            return
        # Only ``run`` asks for the exit code: of two threads that do, one gets none.
        self._process.terminate()
        if not wait([self._process.sentinel], _STOP_S):
            self._process.kill()
            wait([self._process.sentinel])


class RecurringWork:
    """Does something beside a service whenever there is something to do: one process at a time.

    Args:
        pause_s: least seconds between two looks whether there is something to do.
        rest: times that a run took for which nothing is begun after it.
        nice: as of ``BackgroundProcess``.
    """

    def __init__(
        self,
        work: Callable[[str], None],
        task: str,
        pause_s: float,
        rest: float = 0.0,
        nice: int = _NICEST,
    ) -> None:
        self._work, self._task, self._nice = work, task, nice
        self._pause_s, self._rest = pause_s, rest
        self._looks_at = self._rests_until = 0.0
        self._lock = threading.Lock()
        self._process: BackgroundProcess[str] | None = None

    def begin_if_due(self, has_work: Callable[[], bool]) -> None:
        """Go on with what was begun or interrupted, here or elsewhere; cheap between two looks."""
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + self._pause_s
            if has_work():
                self.begin()

    def begin(self) -> None:
        """Begin, unless a process runs or the rest after the last one is not over."""
        with self._lock:
            if self._process is None and time.monotonic() >= self._rests_until:
                self._process = BackgroundProcess(self._work, self._task, self._nice)
                threading.Thread(target=self._run, args=(self._process,), name="beside").start()

    def close(self) -> None:
        """End the process if there is one, and begin none; whoever serves next goes on."""
        with self._lock:
            self._rests_until, process = math.inf, self._process
        if process is not None:
            process.stop()

    def _run(self, process: BackgroundProcess[str]) -> None:
        begun, has_failed = time.monotonic(), True
        try:
            has_failed = process.run() != 0
        except OSError as error:
            _log.warning("%s cannot begin now: %s", self._work.__name__, error)
        with self._lock:
            now = time.monotonic()
            least_s = _RETRY_S if has_failed else self._pause_s
            rest_s = max(least_s, self._rest * (now - begun))
            self._rests_until = max(self._rests_until, now + rest_s)
            self._process = None


def _run(work: Callable[[Task], None], task: Task, nice: int) -> None:
    os.nice(nice)
    signal.signal(signal.SIGTERM, _exit)
    sys.unraisablehook = _exit_again
    limit_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    work(task)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _exit_again(unraisable: sys.UnraisableHookArgs) -> None:
    # The signal is sent once more where Python drops the exit, as in a finaliser.
    if unraisable.exc_type is SystemExit:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)
