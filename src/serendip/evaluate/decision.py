"""One decision about what was learned or written: it is used where an interval says that it helps.

Shapes: U users or queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from serendip.evaluate.intervals import DIFFERENCE_RANGE, Estimate, estimates
from serendip.evaluate.runs import Values


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is used.

    Args:
        name: of what was measured.
        on: whether it is used.
        gain: what it gains; None = nothing was measured.
        low: lower end of its 95 % interval.
        high: upper end.
        n: number of users, queries or items.
        reason: why it is used, or not.
    """

    name: str
    on: bool
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""

    @classmethod
    def of(cls, name: str, found: Estimate, floor: float, reason: str) -> Self:
        """On if the lower end of an estimate is above a floor; ``reason`` says what if not."""
        on = found.low is not None and found.low > floor
        why = f"the lower end is above {floor:g}" if on else reason
        return cls(name, on, found.value, found.low, found.high, found.n, why)

    @property
    def verdict(self) -> Literal["passed", "failed", "refused"]:
        """For reports; refused = nothing could be measured."""
        if self.gain is None:
            return "refused"
        return "passed" if self.on else "failed"

    def describe(self) -> str:
        """A few words for people."""
        state = "passed" if self.on else "refused"
        if self.gain is None or self.low is None or self.high is None:
            return f"{self.name} {state}: {self.reason}"
        figures = f"{self.gain:.3f} ({self.low:.3f} to {self.high:.3f}), n = {self.n:,}"
        return f"{self.name} {state}: {figures}; {self.reason}"


def choose(name: str, without: Values, with_: Values) -> Decision:
    """Whether values (U,) with something are better than without: the interval is above 0."""
    found = estimates((with_ - without)[:, None], support=DIFFERENCE_RANGE)[0]
    return Decision.of(name, found, 0.0, "no improvement is shown")
