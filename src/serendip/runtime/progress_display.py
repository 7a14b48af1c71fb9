"""Progress that people see: a bar in a terminal, a line every ten seconds elsewhere.

Both name the innermost running step, the time since it began and, if its share is known, the time
left. They write to stderr; stdout carries results.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serendip.runtime.progress import Progress
from serendip.runtime.progress_steps import Step, StepProgress

if TYPE_CHECKING:
    from rich.console import RenderableType

FIRST_LINE_S, LINE_EVERY_S = 2.0, 10.0


def write_line(text: str) -> None:
    """Write a line to stderr, which carries no result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class LineProgress(StepProgress):
    """Writes at most one line in ten seconds, about the innermost running step.

    Args:
        write: writes a line.
        now: the clock, in seconds.
        wake_s: as in ``StepProgress``.
    """

    def __init__(
        self,
        write: Callable[[str], None] = write_line,
        now: Callable[[], float] = time.monotonic,
        wake_s: float | None = 1.0,
    ) -> None:
        super().__init__(now, wake_s)
        self._write = write
        self._last = -math.inf

    def begin(self, step: Step) -> None:
        """After a pause, the first line comes two seconds after a step began."""
        if len(self._steps) == 1:
            self._last = max(self._last, step.began + FIRST_LINE_S - LINE_EVERY_S)

    def tick(self) -> None:
        """Write a line if the last one is ten seconds old."""
        with self._lock:
            now = self._now()
            if not self._steps or now - self._last < LINE_EVERY_S:
                return
            self._last = now
            self._write(f"  {self._steps[-1].describe(now)}")


class BarProgress(StepProgress):
    """Draws a bar with the time left in a terminal, on stderr, while something runs."""

    def __init__(self) -> None:
        super().__init__(wake_s=None)  # the display has a thread of its own
        self._live: Any = None

    def begin(self, step: Step) -> None:
        """Start to draw."""
        if self._live is not None:
            return
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            get_renderable=self._render,
            console=Console(stderr=True),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is piped stays on stdout
        )
        self._live.start()

    def end(self, step: Step) -> None:
        """Stop to draw after the last step."""
        if not self._steps and self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> RenderableType:
        """The innermost step: a bar if its share is known, and its line."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        steps = list(self._steps)  # no lock: ``end`` holds it while the last drawing is awaited
        if not steps:
            return Text("")
        row = Table.grid(padding=(0, 1))
        share, line = steps[-1].share, Text(steps[-1].describe(self._now()), overflow="ellipsis")
        if share is None:
            row.add_row(" ", line)
        else:
            row.add_row(" ", ProgressBar(1.0, share, width=20), line)
        return row


def open_progress() -> Progress:
    """Progress of a command: a bar if stderr is a terminal, lines otherwise."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()
