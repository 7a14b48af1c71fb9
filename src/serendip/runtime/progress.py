"""Progress and other execution options, passed down from the caller; the library prints nothing.

``SilentProgress`` is the default everywhere. The CLI passes that of ``progress_display``, with the
time left; ``job_status`` writes the share of a whole job to a file, for other processes. Options
(seed, progress, checkpoint, device, executor) belong to a run, the settings of a model are its
config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from serendip.runtime.budget import UNLIMITED, Allowance
from serendip.runtime.executor import IN_PROCESS, Executor

T = TypeVar("T")


def empty_note() -> str:
    """The note of a loop without a note."""
    return ""


def unknown_share() -> float | None:
    """The share of work whose parts cannot be counted."""
    return None


class Progress(Protocol):
    """Shows the progress of loops and of other work."""

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
            note: returns an additional text; called whenever it is shown.
        """
        ...

    def step(
        self,
        description: str,
        share: Callable[[], float | None] = unknown_share,
        note: Callable[[], str] = empty_note,
    ) -> AbstractContextManager[None]:
        """Show the work in a ``with`` block.

        Args:
            description: name of the work.
            share: returns the share that is done, in [0, 1]; None = unknown.
            note: as in ``track``.
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

    def step(
        self,
        description: str,
        share: Callable[[], float | None] = unknown_share,
        note: Callable[[], str] = empty_note,
    ) -> AbstractContextManager[None]:
        """Show nothing."""
        return nullcontext()


@dataclass(frozen=True, slots=True)
class BothProgress:
    """Shows the same progress in two places."""

    first: Progress
    second: Progress

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` through both."""
        inner = self.first.track(items, description, total, note)
        return self.second.track(inner, description, total, note)

    @contextmanager
    def step(
        self,
        description: str,
        share: Callable[[], float | None] = unknown_share,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[None]:
        """Show the work in both."""
        with (
            self.first.step(description, share, note),
            self.second.step(description, share, note),
        ):
            yield


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
        executor: where parts that do not need each other run.
        shared: folder that all workers of the executor see, for files that tasks read; None = there
            is none, and parts whose data are too large to be sent run in this process.
    """

    seed: int = 0
    progress: Progress = field(default_factory=SilentProgress)
    checkpoint: Path | None = None
    device: str = "cpu"
    allowance: Allowance = UNLIMITED
    executor: Executor = IN_PROCESS
    shared: Path | None = None

    def inside(self, name: str, share: float = 1.0) -> TrainOptions:
        """Options of a part of a training: a subfolder for its checkpoints, a share of the time."""
        checkpoint = None if self.checkpoint is None else self.checkpoint / name
        return replace(self, checkpoint=checkpoint, allowance=self.allowance.from_now(share, name))
