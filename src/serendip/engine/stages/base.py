"""Stages of a request, and what those that shape the list read and return.

A surface is a list of stages (``selection.py``), which ``pipeline.py`` runs in order. Every
stage declares its name, which is its key in the trace and in ``degraded``, and its label, which is
what people read. The base classes of filters and sources are in ``filters.py`` and ``sources.py``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import BoolArray, FloatArray, IntArray, Query
from serendip.engine.state import EngineState

FIRST = 10  # what most people see, and what the reasons of a list are compared with
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Stage:
    """One step of a request: its name, and the labels of all that it adds to an answer.

    Attributes:
        name: unique in the surface.
        label: for people. Of a source: the stage itself; of the others: the items
            that the trace counts after it.
        counts: further keys of the trace -> label.
        numbers: columns that it adds to the items -> label.
        failure_label: the stage itself, where it can fail and its label counts items.
    """

    name: str
    label: str
    counts: ClassVar[Mapping[str, str]] = _NO_LABELS
    numbers: ClassVar[Mapping[str, str]] = _NO_LABELS
    failure_label: ClassVar[str] = ""

    @property
    def trace_labels(self) -> Mapping[str, str]:
        """Keys that the stage may add to the trace -> label."""
        return {self.trace_key: self.label, **self.counts}

    @property
    def trace_key(self) -> str:
        """Key of the number of items that are left after it."""
        return f"after {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class OrderedCandidates:
    """The candidates of one query, best first: the input of a list filter.

    Args:
        items: (R,) int32 item numbers.
        values: (R,) float32 organic values.
        is_organic: (R,) bool, False for candidates that only their bid brought here.
        is_pinned: (R,) bool, True for exact titles, and what a rule pins.
    """

    query: Query
    state: EngineState
    items: IntArray
    values: FloatArray
    is_organic: BoolArray
    is_pinned: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The output of a list filter for R ordered candidates.

    Args:
        rows: rows that stay, best first.
        numbers: column -> (R,) float32; NaN = the stage has no number for the item.
        counts: further counts for the trace.
        max_items: the longest list that may be shown; None = any.
    """

    rows: NDArray[np.intp]
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    max_items: int | None = None


class ListFilter(Stage, ABC):
    """Removes ordered candidates before the slate is built, and may order the rest."""

    def is_on(self, state: EngineState) -> bool:
        """False where the state decides that the list is not filtered; nothing is missing then."""
        return True

    def is_ready(self, state: EngineState) -> bool:
        """False where the state lacks what the filter needs; it is then left out and named."""
        return True

    @abstractmethod
    def keep(self, ordered: OrderedCandidates) -> Kept:
        """Decide which candidates of one query stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The candidates of one query in organic order: the input of the list rules.

    Args:
        values: (C,) float32 organic values.
        is_organic: (C,) bool, False for candidates that only their bid brought here.
        pinned: number of first rows that keep their positions.
        revenue: (C,) float32 expected revenue, bid x P(action); 0 without a bid.
        is_new: (C,) bool, items to explore; see ``EngineState.new_items``.
        codes: (C, L) int32, of which the first are the group of each item for its diversity.
        taste: (C,) float32 how well the items fit the query, by scores that do not rest on their
            past; see ``likeness.taste_scores``. NaN = not known.
        seed: of the exploration.
        items: (C,) int32 their numbers.
        places: 0-based position -> row that a rule of a merchandiser puts there.
    """

    values: FloatArray
    is_organic: BoolArray
    pinned: int
    revenue: FloatArray
    is_new: BoolArray
    codes: IntArray
    taste: FloatArray
    seed: int
    items: IntArray
    places: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(eq=False)
class Slate:
    """A list of P positions that is filled with C ranked candidates.

    Args:
        organic: (C,) bool, organic rows without a position, but for those that wait for theirs.
        unused: (C,) bool, all rows without a position.
        fits: (C,) bool, rows whose group has room at the next position.
        rows: row at each position.
        positions: list rule -> positions that it decided, in order.
        propensities: position that was drawn -> probability of its item there.
        waiting: position -> row that has it, and no other.
    """

    ranked: Ranked
    organic: BoolArray
    unused: BoolArray
    fits: BoolArray
    rows: list[int] = field(default_factory=list)
    positions: dict[str, list[int]] = field(default_factory=dict)
    propensities: dict[int, float] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, ranked: Ranked) -> Self:
        """Before the first position is filled."""
        free, waiting = np.ones(len(ranked), np.bool_), dict(ranked.places)
        fits = free.copy()
        free[[*waiting.values()]] = False
        return cls(ranked, ranked.is_organic & free, free, fits, waiting=waiting)

    @cached_property
    def random(self) -> np.random.Generator:
        """What chance decides, the same for the same request."""
        return np.random.default_rng(self.ranked.seed)

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, row: int) -> None:
        """Give a row the next position."""
        self.rows.append(row)
        self.organic[row] = self.unused[row] = False

    def decided_by(self, rule: str) -> NDArray[np.bool_]:
        """(P,) True at the positions that a rule decided."""
        return np.isin(np.arange(len(self)), self.positions.get(rule, []))

    def propensities_of_draws(self) -> FloatArray:
        """(P,) float32 probabilities of what was drawn; NaN at the other positions."""
        drawn = [self.propensities.get(place, math.nan) for place in range(len(self))]
        return np.array(drawn, np.float32)


class ListRule(Stage, ABC):
    """Fills positions of the slate; the first rule that names a row decides the position."""

    @property
    def trace_key(self) -> str:
        """Key of the number of positions that it decided."""
        return self.name

    def begin(self, slate: Slate) -> None:
        """Look at the slate before the next position is filled."""

    @abstractmethod
    def place(self, slate: Slate) -> int:
        """The row for the next position, or -1 to leave it to the next rule.

        At least one organic row is open.
        """
