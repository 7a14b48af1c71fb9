"""What a harness is, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from serendip.runtime.progress import Progress


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise in numbers: the bound that what is measured must keep."""

    name: str
    measured: float
    bound: float
    kind: Literal["at most", "at least"] = "at most"

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        if self.kind == "at most":
            return self.measured <= self.bound
        return self.measured >= self.bound


@dataclass(frozen=True, slots=True)
class Control:
    """A negative control: faults found in what is broken, and from how many on it is caught."""

    name: str
    found: float
    needed: float = 1

    @property
    def is_caught(self) -> bool:
        """Whether the harness noticed."""
        return self.found >= self.needed


@dataclass(frozen=True, slots=True)
class Findings:
    """What one harness found.

    Args:
        counts: how much was tried, and what happened; by name.
        examples: the first faults, in words.
    """

    counts: Mapping[str, float]
    bars: tuple[Bar, ...]
    controls: tuple[Control, ...] = ()
    examples: tuple[str, ...] = field(default=())

    @property
    def is_kept(self) -> bool:
        """Whether all promises are kept and all controls are caught."""
        return all(bar.is_met for bar in self.bars) and self.is_sound

    @property
    def is_sound(self) -> bool:
        """Whether all controls are caught."""
        return all(control.is_caught for control in self.controls)


class Harness(Protocol):
    """A frozen config with one verb."""

    def run(self, progress: Progress) -> Findings:
        """Try, and count."""
        ...
