"""The running steps of a job: what every progress that is shown has in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from serendip.runtime.progress import empty_note, unknown_share

T = TypeVar("T")

FIRST_ESTIMATE = 0.1
"""Share of uncounted work from which on a time left is named."""


@dataclass(slots=True, eq=False)
class Step:
    """A loop or other work that is running.

    Args:
        name: of the work.
        began: seconds of the clock.
        share_of: returns the share that is done; None = unknown.
        note_of: returns an additional text.
        total: number of parts; 0 = not counted.
        done: number of parts done.
        done_s: seconds that these parts took.
    """

    name: str
    began: float
    share_of: Callable[[], float | None] = unknown_share
    note_of: Callable[[], str] = empty_note
    total: int = 0
    done: int = 0
    done_s: float = 0.0

    @property
    def share(self) -> float | None:
        """Share that is done, in [0, 1]; None = unknown."""
        return min(self.done / self.total, 1.0) if self.total else self.share_of()

    def describe(self, now: float) -> str:
        """One line: name, parts done, time taken and time left."""
        share, taken = self.share, now - self.began
        parts = [f"{self.done} of {self.total}"] if self.total else []
        parts += [] if share is None else [f"{100 * share:.0f} %"]
        parts.append(f"{format_clock(taken)} so far")
        left = self.estimate_left(taken)
        parts += [] if left is None else [f"about {format_clock(left)} left"]
        note = self.note_of()
        return f"{self.name}: {', '.join(parts)}{f'  {note}' if note else ''}"

    def count(self, now: float) -> None:
        """Count a part that is done."""
        self.done += 1
        self.done_s = now - self.began

    def estimate_left(self, taken_s: float) -> float | None:
        """Seconds left if every part takes as long as those done; None = unknown, or overdue."""
        if not self.total:
            return estimate_left(taken_s, self.share)
        if not self.done:
            return None
        left = self.done_s * self.total / self.done - taken_s
        return left if left > 0 else None


def estimate_left(taken_s: float, share: float | None) -> float | None:
    """Seconds left if the rest goes on at the same pace; None below a tenth, too little to tell."""
    if share is None or share < FIRST_ESTIMATE:
        return None
    return taken_s * (1.0 - share) / share


def format_clock(seconds: float) -> str:
    """Format seconds as ``2:05`` or ``1:02:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class StepProgress:
    """Base class of progress that is shown: keeps the running steps, outermost first.

    Args:
        now: the clock, in seconds.
        wake_s: seconds between calls of ``tick`` by a thread while a step runs; None = only the
            steps of a loop call it.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, wake_s: float | None = 1.0
    ) -> None:
        self._now, self._wake_s = now, wake_s
        self._steps: list[Step] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the running steps: another process has its own."""
        return type(self), ()

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` and count them."""
        step = Step(description, self._now(), note_of=note, total=total)
        with self._run(step):
            for item in items:
                yield item
                step.count(self._now())
                self.tick()

    def step(
        self,
        description: str,
        share: Callable[[], float | None] = unknown_share,
        note: Callable[[], str] = empty_note,
    ) -> AbstractContextManager[None]:
        """Show the work in a ``with`` block."""
        return self._run(Step(description, self._now(), share, note))

    def tick(self) -> None:
        """Show the running steps if it is time; called often."""

    def begin(self, step: Step) -> None:
        """Take note of a step that begins."""

    def end(self, step: Step) -> None:
        """Take note of a step that ended."""

    @contextmanager
    def _run(self, step: Step) -> Iterator[None]:
        """Hold a step among the running ones; the first starts the thread, the last ends it."""
        with self._lock:
            self._steps.append(step)
            self.begin(step)
            if len(self._steps) == 1:
                self._ended = threading.Event()
                if self._wake_s is not None:
                    threading.Thread(
                        target=self._wake, args=(self._ended, self._wake_s), daemon=True
                    ).start()
        try:
            yield
        finally:
            with self._lock:
                self._steps.remove(step)
                self.end(step)
                if not self._steps:
                    self._ended.set()

    def _wake(self, ended: threading.Event, wake_s: float) -> None:
        while not ended.wait(wake_s):
            self.tick()
