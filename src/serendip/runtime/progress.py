"""Progress of long work as a value that is handed down, never printed by a library.

``SilentProgress`` is the default everywhere; the CLI hands in ``RichProgress``, which draws one
bar per task with the time left.

Options decide execution (seed, threads, progress); configs decide results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


def nothing() -> str:
    """What there is to say of a loop that only takes its time."""
    return ""


class Progress(Protocol):
    """Something that can follow a loop."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = nothing,
    ) -> Iterator[T]:
        """Yield ``items`` unchanged while showing how many of ``total`` are done.

        Args:
            items: what is followed.
            description: what is done.
            total: number of items.
            note: what else is shown, asked after every item.
        """
        ...


class SilentProgress:
    """Follows without showing anything."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = nothing,
    ) -> Iterator[T]:
        """Yield ``items`` unchanged."""
        yield from items


class RichProgress:
    """One bar per task on stderr, with time left; plain lines where stderr is no terminal."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = nothing,
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
            BarColumn(bar_width=10 if note() else 28),  # A note needs its room.
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
    """How a training run executes.

    Args:
        seed: root of all randomness; the same seed on the same data gives the same numbers.
        progress: follows long loops.
        checkpoint: folder for the state of a training in epochs, written after each of them; a
            killed run that starts again with the same folder, data, config and seed continues and
            ends with the same numbers. Removed at the end. None = nothing is written.
        device: torch's name of where encoders of content run.
    """

    seed: int = 0
    progress: Progress = field(default_factory=SilentProgress)
    checkpoint: Path | None = None
    device: str = "cpu"

    def inside(self, name: str) -> TrainOptions:
        """The same for a part of a training, whose state has a folder of its own."""
        if self.checkpoint is None:
            return self
        return replace(self, checkpoint=self.checkpoint / name)
