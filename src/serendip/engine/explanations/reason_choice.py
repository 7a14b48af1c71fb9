"""Grounds for showing items, and the choice of one for each item of a list.

Each item is given the strongest ground there is, where a kind counts less with each time that the
list has told it, as in the diversification of results (maximal marginal relevance, Carbonell and
Goldstein 1998). The same sentence, or one of a kind that rests on no item, is told a few times at
most. So a list does not say the same thing ten times, and of an item nothing is told that is far
weaker than its strongest ground.

Strengths of different kinds are made comparable by what the strongest of a kind in the list has:
1 for that one, its share of it for the others. Kinds that say less of the user (a group,
popularity) reach less than 1, and those that leave nothing open (the title that was typed) more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

TOLERANCE = 0.5  # a ground with this share of the strongest one's strength may be told instead
REPEATED = 0.85  # what a ground counts for with each time that its kind has been told in the list
MOST_ALIKE = 3  # times that a list says the same: of the same items, or of none, as of popularity
DECISIVE = 3.0  # strength of a ground beside which no other one is told


class Ground(NamedTuple):
    """A ground for showing one item; its sentence is made where it is told.

    Args:
        row: the item, as a position in the list.
        kind: of the evidence.
        strength: comparable over kinds, above 0.
        weight: as in ``Evidence``.
        sentence: template.
        names: values of the template, besides the title of the last item that it rests on.
        rests_on: numbers of the items of the history or the context behind it.
    """

    row: int
    kind: str
    strength: float
    weight: float
    sentence: str
    names: Mapping[str, str | float] = MappingProxyType({})
    rests_on: tuple[int, ...] = ()


def group_by_row(grounds: Iterable[Ground], count: int) -> list[list[Ground]]:
    """The grounds of each of ``count`` items, in the order in which they come."""
    rows: list[list[Ground]] = [[] for _ in range(count)]
    for ground in grounds:
        rows[ground.row].append(ground)
    return rows


def choose_grounds(rows: Sequence[Sequence[Ground]]) -> list[Ground | None]:
    """One ground for each item, None for an item without any."""
    told: Counter[str] = Counter()
    alike: Counter[tuple[object, ...]] = Counter()
    chosen: list[Ground | None] = []
    for grounds in rows:
        least = TOLERANCE * max((ground.strength for ground in grounds), default=0.0)
        best, most = None, 0.0
        for ground in grounds:
            worth = ground.strength * REPEATED ** told[ground.kind]
            is_worn = alike[_what_is_said(ground)] >= MOST_ALIKE
            if ground.strength >= least and worth > most and not is_worn:
                best, most = ground, worth
        if best is not None:
            told[best.kind] += 1
            alike[_what_is_said(best)] += 1
        chosen.append(best)
    return chosen


def _what_is_said(ground: Ground) -> tuple[object, ...]:
    names = ground.names if ground.rests_on else ("value",)
    return ground.sentence, ground.rests_on[-1:], *(ground.names.get(name) for name in names)


def order_grounds(grounds: Sequence[Ground]) -> list[Ground]:
    """The grounds of one item, those of the strongest kind first, and the strongest of a kind."""
    strongest: dict[str, float] = {}
    for ground in grounds:
        strongest[ground.kind] = max(ground.strength, strongest.get(ground.kind, 0.0))
    kinds = sorted(strongest, key=lambda kind: -strongest[kind])
    return sorted(grounds, key=lambda ground: (kinds.index(ground.kind), -ground.strength))
