"""Repeat consumption: whether, and after what time, an item that a user chose may come again.

Coffee is bought again after weeks, a film is hardly ever watched twice. Both are learned from the
log, for each category of items: the share of (user, item) pairs that were chosen again on another
day, and the median time between two such choices. Both are shrunk towards those of the whole log,
so that a category with few choices does not decide by chance. Where the share is below
``min_share``, an item never comes again.

Shapes: N items, C categories, E events, P (user, item) pairs, T events of a history.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from serendip.config import Config
from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.artefact import Artefact
from serendip.data.dataset import Dataset, EventLog
from serendip.data.items.catalogue import Item
from serendip.data.items.semantic_ids import first_codes
from serendip.data.query import History
from serendip.data.rows.row_array import put_rows
from serendip.errors import ConfigError
from serendip.runtime.budget import parse_duration

NEVER = "never"

_DAY = 86_400.0  # a choice within a day of the one before is the same occasion, not a repeat
# Pairs, and repeats, at the mean of the whole log that are added to those of each category.
_PRIOR = 20.0


class RepeatConfig(Config):
    """``[repeats]``: when an item that a user chose may be recommended again."""

    category: str = ""
    """Attribute of the items, such as ``department``, for whose values repeats are learned apart;
    of a list the first value. Empty = the coarsest code of the semantic IDs."""

    min_share: float = Field(default=0.1, ge=0, le=1)
    """Share of choices that are repeated on another day from which items of a category may come
    again. 1 = none may, unless ``after`` names the category."""

    after: dict[str, str] = Field(default_factory=dict)
    """Category -> time after which its items come again, such as ``30d``, or ``never``; the other
    categories are learned."""

    @field_validator("after")
    @classmethod
    def _durations(cls, after: dict[str, str]) -> dict[str, str]:
        for category, text in after.items():
            try:
                _seconds(text)
            except ConfigError as error:
                raise ValueError(f"after.{category}: {error}") from None
        return after


def _seconds(text: str) -> float:
    return math.inf if text == NEVER else parse_duration(text)


@dataclass(frozen=True, slots=True, eq=False)
class Repeats(Artefact):
    """When the items of a catalogue may come again.

    Args:
        attribute: of the category; empty = the coarsest code.
        gaps: category -> seconds after the last choice; infinite = never.
        usual: seconds for an item of any other category.
        after: (N,) float32 seconds of each item; empty = no item ever comes again.
    """

    attribute: str = ""
    gaps: Mapping[str, float] = field(default_factory=dict)
    usual: float = math.inf
    after: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def is_on(self) -> bool:
        """False if no item ever comes again."""
        return len(self.after) > 0

    def due(self, history: History, time: float) -> IntArray:
        """Items (A,) of a history, ascending, that may come again at ``time``; none at NaN."""
        if not self.is_on or not len(history) or math.isnan(time):
            return NO_ITEMS
        items, since = last_choices(history)
        known = items < len(self.after)
        items, since = items[known], since[known]
        due: IntArray = items[since + self.after[items] <= time]
        return due

    def with_late(self, numbers: IntArray, items: Sequence[Item], codes: IntArray) -> Self:
        """A copy with late items (M,), with codes (M, L)."""
        if not self.is_on:
            return self
        names = categories_of(items, codes, self.attribute)
        gaps = np.array([self.gaps.get(name, self.usual) for name in names], np.float32)
        return replace(self, after=put_rows(self.after, numbers, gaps))

    @classmethod
    def never(cls, num_items: int) -> Self:
        """No item comes again, among features of a ranker that has learned of repeats."""
        return cls(after=np.full(num_items, np.inf, np.float32))


def last_choices(history: History) -> tuple[IntArray, TimeArray]:
    """Known items (A,) of a history, ascending, and the time of the last event of each."""
    found: tuple[IntArray, TimeArray] | None = history.derived.get("last choices")
    if found is None:
        items, newest = np.unique(history.item_nums[::-1], return_index=True)
        times = history.timestamps[::-1][newest]
        known = items >= 0
        found = history.derived["last choices"] = items[known].astype(np.int32), times[known]
    return found


def times_chosen(history: History, items: IntArray) -> IntArray:
    """(C,) int32 number of events of a history with each of some items."""
    ordered: IntArray | None = history.derived.get("ordered items")
    if ordered is None:
        ordered = history.derived["ordered items"] = np.sort(history.item_nums)
    first, after = (np.searchsorted(ordered, items, side) for side in ("left", "right"))
    return (after - first).astype(np.int32)


def categories_of(items: Sequence[Item], codes: IntArray, attribute: str) -> list[str]:
    """Category of each item: the value of an attribute, else its coarsest code; empty = none."""
    if not attribute:
        return list(map(str, first_codes(codes).tolist()))
    names = []
    for item in items:
        value = item.attributes.get(attribute, "")
        first = (value[0] if value else "") if isinstance(value, tuple) else value
        names.append(first if isinstance(first, str) else f"{first:g}")
    return names


def learn_repeats(dataset: Dataset, codes: IntArray, config: RepeatConfig) -> Repeats:
    """Learn when the N items of a dataset come again, with their semantic IDs (N, L)."""
    pairs = _count_pairs(dataset.events, dataset.num_items)
    if not len(pairs.gaps) and not config.after:
        return Repeats()
    names = categories_of(dataset.catalogue, codes, config.category)
    categories, of_items = np.unique(names, return_inverse=True)  # (C,), (N,)
    known: list[str] = categories.tolist()
    shares, gaps = _summarise(pairs, of_items, len(known))
    learned = np.where(shares[:-1] >= config.min_share, gaps[:-1], np.inf)  # (C,)
    table = dict(zip(known, learned.tolist(), strict=True))
    table |= {name: _seconds(text) for name, text in config.after.items()}
    usual = float(gaps[-1]) if shares[-1] >= config.min_share else math.inf
    if not any(map(math.isfinite, (*table.values(), usual))):
        return Repeats()
    after = np.array([table[name] for name in known], np.float32)[of_items]  # (N,)
    return Repeats(config.category, table, usual, after)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Pairs of a user and an item that had time for a repeat, and the repeats.

    Args:
        items: (P,) item of each pair.
        repeated: (P,) bool, chosen again on another day.
        gap_items: (R,) item of each repeat.
        gaps: (R,) seconds from the choice before.
    """

    items: IntArray
    repeated: BoolArray
    gap_items: IntArray
    gaps: FloatArray


def _count_pairs(log: EventLog, num_items: int) -> _Pairs:
    """Pairs whose first choice is at least a median gap older than the end of the log."""
    pairs = log.users.astype(np.int64) * max(num_items, 1) + log.items
    order = np.argsort(pairs, kind="stable")  # of one pair in order of time
    ordered, times, items = pairs[order], log.timestamps[order], log.items[order]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    steps = np.append(0.0, np.diff(times))[: len(times)]
    is_repeat = ~is_first & (steps >= _DAY)
    gaps = steps[is_repeat]
    end = float(log.timestamps[-1]) if len(log) else 0.0
    wait = float(np.median(gaps)) if len(gaps) else 0.0
    begins = np.flatnonzero(is_first)
    repeats = np.add.reduceat(is_repeat.astype(np.int64), begins) if len(begins) else begins
    had_time = times[begins] + wait <= end
    return _Pairs(
        items[begins][had_time], repeats[had_time] > 0, items[is_repeat], gaps.astype(np.float32)
    )


def _summarise(
    pairs: _Pairs, of_items: NDArray[np.intp], count: int
) -> tuple[FloatArray, FloatArray]:
    """Shares of repeats (C + 1,) and median gaps (C + 1,), shrunk to those of all, the last."""
    from scipy import ndimage

    if not len(pairs.gaps):
        return np.zeros(count + 1, np.float32), np.full(count + 1, np.inf, np.float32)
    groups, gap_groups = of_items[pairs.items], of_items[pairs.gap_items]
    totals = np.bincount(groups, minlength=count)
    repeated = np.bincount(groups, pairs.repeated, count)
    overall = float(pairs.repeated.mean()) if len(pairs.repeated) else 0.0
    shares = (repeated + _PRIOR * overall) / (totals + _PRIOR)
    middle = math.log(float(np.median(pairs.gaps)))
    counts = np.bincount(gap_groups, minlength=count)
    known = np.flatnonzero(counts)
    weight = counts[known] / (counts[known] + _PRIOR)
    gaps = np.full(count, middle)
    gaps[known] += weight * (np.log(ndimage.median(pairs.gaps, gap_groups, known)) - middle)
    return (
        np.append(shares, overall).astype(np.float32),
        np.exp(np.append(gaps, middle)).astype(np.float32),
    )
