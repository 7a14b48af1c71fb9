"""A process beside this one that gives way to it and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Generic, TypeVar

from serendip.runtime.executor import blocked_interrupts, end_with_parent
from serendip.runtime.threads import limit_threads

Task = TypeVar("Task")

_NICEST = 19
_STOP_S = 10.0


class BackgroundProcess(Generic[Task]):
    """Runs a function in a separate process of low priority.

    The process leaves Ctrl-C to its parent, and ends if the parent ends in any way.

    Args:
        work: a module-level function of one plain argument.
        task: its argument.
        nice: added to the niceness of this process; 19 = the lowest priority.

    Attributes:
        is_stopped: True once ``stop`` was called.
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


def _run(work: Callable[[Task], None], task: Task, nice: int) -> None:
    """Body of the process."""
    os.nice(nice)
    signal.signal(signal.SIGTERM, _exit)
    sys.unraisablehook = _exit_again
    limit_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    work(task)


def _exit(number: int, frame: FrameType | None) -> None:
    """Signal handler that leaves all ``with`` blocks."""
    sys.exit(128 + number)


def _exit_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Send the signal once more if the exit was raised where Python drops it, as in a finaliser."""
    if unraisable.exc_type is SystemExit:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)
