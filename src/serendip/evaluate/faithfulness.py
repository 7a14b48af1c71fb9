"""Whether the reasons for shown items are true: what an item loses without the evidence named.

A reason is faithful if the answer rests on what it names. The test is that of erasure (DeYoung et
al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models", comprehensiveness): the events
that a reason names are deleted from the history, the request is answered again, and the places that
the item loses are compared with those that it loses without as many other, random events. A reason
that names more than the others are cannot be tested so: it is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Deletion:
    """Places that an item loses without the evidence of its reason.

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
