"""Options decide execution (seed, threads, progress); configs decide results."""

from __future__ import annotations

from dataclasses import dataclass, field

from serendip.scale.progress import Progress, SilentProgress


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a training run executes.

    Args:
        seed: root of all randomness; the same seed on the same data gives the same numbers.
        progress: follows long loops.
    """

    seed: int = 0
    progress: Progress = field(default_factory=SilentProgress)
