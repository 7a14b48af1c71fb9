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
    """One measure, request by request.

    Args:
        group: what it is about, such as ``similar items``.
        name: of the measure.
        requests: (R,) what was asked, such as an item id or a text.
        values: (R,) in [0, 1].
        goal: whether more or less is better, or only 0 is right.
        examples: titles of items that are wrong.
    """

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
    """A list as people see it.

    Args:
        asked: what it is for: a title, a text, or a user by what they chose; no id of one.
        shown: titles, first to last.
    """

    asked: str
    shown: Sequence[str]


@dataclass(frozen=True, slots=True)
class ListFigures:
    """What people see of one generation.

    Args:
        generation: that answered.
        figures: of all measures.
        lists: ``home``, ``similar`` and ``search`` -> some lists.
        suggested: kind -> number of suggested queries.
        missing: what was not measured, and why, one sentence each.
    """

    generation: str = ""
    figures: Sequence[ListFigure] = ()
    lists: Mapping[str, Sequence[ShownList]] = field(default_factory=dict)
    suggested: Mapping[str, int] = field(default_factory=dict)
    missing: Sequence[str] = ()
