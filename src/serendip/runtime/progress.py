"""Progress and other execution options, passed down from the caller; the library prints nothing.

``SilentProgress`` is the default everywhere. The CLI passes ``RichProgress``, which draws a bar
with the remaining time. Options (seed, progress, checkpoint, device) belong to a run; the settings
of a model are its config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from serendip.runtime.budget import UNLIMITED, Allowance

T = TypeVar("T")


def empty_note() -> str:
    """The note of a loop without a note."""
    return ""


class Progress(Protocol):
    """Shows the progress of loops."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` unchanged while showing how many of ``total`` are done.

        Args:
            items: of the loop.
            description: name of the loop.
            total: number of items.
            note: returns an additional text; called after every item.
        """
        ...


class SilentProgress:
    """Shows nothing."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` unchanged."""
        yield from items


class RichProgress:
    """Draws one bar per loop on stderr; prints plain lines if stderr is not a terminal."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` while a bar named ``description`` moves."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        columns: list[Any] = [
            TextColumn("  {task.description}" if note() else "  {task.description:<34}"),
            BarColumn(bar_width=10 if note() else 28),  # shorter, to leave room for the note
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total, note=note())
            for item in items:
                yield item
                bar.update(task, advance=1, note=note())


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Execution options of a training.

    Args:
        seed: root of all randomness; the same seed on the same data gives the same numbers.
        progress: of long loops.
        checkpoint: folder for the state of a training, written after every epoch. A run with the
            same folder, data, config and seed resumes an interrupted one and gives the same
            numbers. Removed at the end. None = no checkpoints.
        device: torch device of the content encoders.
        allowance: time that the training may take; it then ends at its best point so far.
    """

    seed: int = 0
    progress: Progress = field(default_factory=SilentProgress)
    checkpoint: Path | None = None
    device: str = "cpu"
    allowance: Allowance = UNLIMITED

    def inside(self, name: str, share: float = 1.0) -> TrainOptions:
        """Options of a part of a training: a subfolder for its checkpoints, a share of the time."""
        checkpoint = None if self.checkpoint is None else self.checkpoint / name
        return replace(self, checkpoint=checkpoint, allowance=self.allowance.from_now(share, name))
