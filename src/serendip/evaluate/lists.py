"""What people see: figures of lists, and lists by title.

A measure has one value in [0, 1] for each request; its interval is a bootstrap over requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from serendip.evaluate.intervals import Estimate, estimate
from serendip.evaluate.runs import Values

Goal = Literal["more", "less", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One measure with a value in [0, 1] for each request, and titles of items that are wrong."""

    group: str
    name: str
    requests: Sequence[str]
    values: Values
    goal: Goal = "more"
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ListFigure:
    """One measure: the mean over requests."""

    group: str
    name: str
    value: Estimate
    goal: Goal

    @classmethod
    def of(cls, measured: Measured, seed: int) -> Self:
        """Estimate the mean; ``seed`` is that of the bootstrap."""
        value = estimate(measured.values, seed)
        return cls(measured.group, measured.name, value, measured.goal)


@dataclass(frozen=True, slots=True)
class ShownList:
    """A list by titles; what was asked is a title, a text, or what a user chose, no id."""

    asked: str
    shown: Sequence[str]


@dataclass(frozen=True, slots=True)
class ListFigures:
    """What people see of one generation.

    Args:
        lists: ``home``, ``similar`` and ``search`` -> some lists.
        suggested: kind -> number of suggested queries.
        missing: what was not measured, and why, one sentence each.
    """

    generation: str = ""
    figures: Sequence[ListFigure] = ()
    lists: Mapping[str, Sequence[ShownList]] = field(default_factory=dict)
    suggested: Mapping[str, int] = field(default_factory=dict)
    missing: Sequence[str] = ()
