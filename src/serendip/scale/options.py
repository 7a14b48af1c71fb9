"""Options decide execution (seed, threads, progress); configs decide results."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from serendip.scale.progress import Progress, SilentProgress


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
