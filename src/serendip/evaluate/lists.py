"""What people see: figures of lists, lists by title, and whether the reasons are true.

A measure has one value in [0, 1] for each request; its interval is a bootstrap over requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Deletion:
    """Places that an item loses without the evidence of its reason (DeYoung et al. 2020, ERASER).

    What the reason names is deleted from the history, and as many other, random events; a reason
    that names more than the others are cannot be tested so: it is left out, and counted.

    Args:
        named: places lost without the items that it names; below 0 = places won.
        random: places lost without as many other items of the history.
    """

    kind: str
    named: int
    random: int


@dataclass(frozen=True, slots=True)
class KindFigures:
    """Figures of the reasons of one kind, or of all.

    Args:
        named: median places lost without what the reason names; None without any.
        above: share of reasons whose evidence costs more places than other events.
    """

    reasons: int
    named: float | None
    random: float | None
    above: float | None
    below: float | None

    @classmethod
    def of(cls, deletions: Sequence[Deletion]) -> KindFigures:
        """Figures of some deletions."""
        if not deletions:
            return cls(0, None, None, None, None)
        named = np.array([one.named for one in deletions])
        random = np.array([one.random for one in deletions])
        return cls(
            len(deletions),
            float(np.median(named)),
            float(np.median(random)),
            _share(named > random),
            _share(named < random),
        )


@dataclass(frozen=True, slots=True)
class FaithfulnessFigures:
    """How true the reasons of a surface are.

    Args:
        all: figures of the reasons that name items of the history.
        told: kind -> number of reasons among the first ten places.
        left_out: reasons that were not tested, as they name more items than the others are.
    """

    lists: int
    kinds_per_list: float
    all: KindFigures
    by_kind: Mapping[str, KindFigures] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0


def summarise_deletions(
    deletions: Sequence[Deletion], kinds: Sequence[Sequence[str]], left_out: int = 0
) -> FaithfulnessFigures:
    """Figures of the deletions of reasons that name items of the history.

    ``kinds`` are per list those of the reasons of its first places, ``left_out`` the number of
    reasons that were not tested.
    """
    every = [kind for listed in kinds for kind in listed]
    names = sorted(set(every), key=lambda name: (-every.count(name), name))
    by_kind = {
        name: KindFigures.of([one for one in deletions if one.kind == name]) for name in names
    }
    return FaithfulnessFigures(
        len(kinds),
        float(np.mean([len(set(listed)) for listed in kinds])) if kinds else 0.0,
        KindFigures.of(deletions),
        {name: figures for name, figures in by_kind.items() if figures.reasons},
        {name: every.count(name) for name in names},
        left_out,
    )


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean())
