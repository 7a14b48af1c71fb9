"""One decision about what was learned or written: it is used where an interval says that it helps.

A gate is a decision that ``must`` be on: else the generation is not published. All decisions of a
generation are one table of its manifest, by the part of the generation that made them.

Shapes: T requests, U users or queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from serendip.evaluate.intervals import Estimate, estimate_difference, per_user
from serendip.evaluate.runs import Values

DECISIONS = "decisions"
"""Fact of a manifest: part of the generation -> its decisions."""

FEWEST = 30
"""Users or queries that a decision needs. The interval decides: it is wide where they are few, and
covers what it says; with a higher bound a usual log hangs on whether one user more came."""

DecisionTable: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is used, or holds.

    Args:
        gain: what it gains; None = nothing was measured.
        without: mean of the measure without it; None = nothing was compared.
    """

    name: str
    on: bool
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""
    without: float | None = None
    must: bool = False

    @classmethod
    def of(cls, name: str, found: Estimate, floor: float, reason: str) -> Self:
        """On if the lower end of an estimate is above a floor; ``reason`` says what if not."""
        on = found.low is not None and found.low > floor
        why = f"the lower end is above {floor:g}" if on else reason
        return cls(name, on, found.value, found.low, found.high, found.n, why)

    @classmethod
    def gate(cls, name: str, passed: bool, reason: str) -> Self:
        """What must hold, whether it does, and figures for people."""
        return cls(name, passed, reason=reason, must=True)

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


def choose(
    name: str,
    without: Values,
    with_: Values,
    users: Sequence[str] = (),
    *,
    tests: int = 1,
    fewest: int = 2,
) -> Decision:
    """Whether values (T,) with something are better than without: the interval is above 0.

    Users are the sampling unit, at least ``fewest`` of them; without users everybody made one
    request. Intervals hold together, at 95 %, for a number of tests.
    """
    both = np.column_stack([without, with_])
    if users:
        both = per_user(both, np.array(users))
    if len(both) < fewest:
        return Decision(name, False, n=len(both), reason=f"{fewest} users or queries are needed")
    found = estimate_difference(both[:, 1] - both[:, 0], tests)
    on = found.low is not None and found.low > 0
    reason = "the interval is above 0" if on else "no improvement is shown"
    mean = float(both[:, 0].mean())
    return Decision(name, on, found.value, found.low, found.high, found.n, reason, mean)


def write_decisions(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(decision) for decision in decisions]


def read_table(table: DecisionTable) -> Iterator[Decision]:
    """The decisions of all parts; keys that a later version wrote are ignored."""
    names = {known.name for known in fields(Decision)}
    for decisions in table.values():
        for facts in decisions:
            yield Decision(**{key: value for key, value in facts.items() if key in names})
