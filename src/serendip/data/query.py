"""The one currency of requests: everything known about what is asked, in item numbers.

A ``Query`` is built once, at the door (``engine`` turns ids into numbers, fetches the history and
encodes the text), and is read-only from there on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.rejections import Rejected

Surface = Literal["home", "similar", "search", "cart", "thank_you", "ads", "digest", "suggest"]
"""Kinds of requests that models know; what a surface is called and how it is answered is the
engine's business."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What one user chose, oldest first; negative events are no part of it.

    Args:
        item_nums: (T,) int32 item numbers.
        timestamps: (T,) float64 Unix seconds, non-decreasing.
        liked: (T,) bool, True where the event counts as a like (see ``ActionRules``).
        recalled: so many of the first events were pulled in from further back for the request at
            hand (see ``long_history``); between them and the others, events are left out.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    timestamps: TimeArray = field(default_factory=lambda: np.empty(0, dtype=np.float64))
    liked: BoolArray = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    recalled: int = 0

    def __len__(self) -> int:
        return len(self.item_nums)

    @classmethod
    def of_items(cls, item_nums: IntArray) -> History:
        """A history known only by its order: times 0, nothing liked."""
        count = len(item_nums)
        return cls(np.asarray(item_nums, np.int32), np.zeros(count), np.zeros(count, np.bool_))

    def before(self, time: float) -> History:
        """Events strictly before ``time``."""
        return self._part(0, int(np.searchsorted(self.timestamps, time, side="left")))

    def first(self, count: int) -> History:
        """The ``count`` oldest events."""
        return self._part(0, count)

    def without(self, item_nums: IntArray) -> History:
        """Events with other items than these."""
        kept = ~np.isin(self.item_nums, item_nums)
        return self.rows(np.flatnonzero(kept), int(kept[: self.recalled].sum()))

    def last(self, count: int) -> History:
        """The ``count`` most recent events, still oldest first."""
        return self._part(max(0, len(self) - count), len(self))

    def rows(self, rows: NDArray[np.integer], recalled: int) -> History:
        """Events by ascending place, the first ``recalled`` of them pulled in."""
        return History(self.item_nums[rows], self.timestamps[rows], self.liked[rows], recalled)

    def known(self, num_items: int) -> History:
        """Events with item numbers in [0, num_items)."""
        keep = (self.item_nums >= 0) & (self.item_nums < num_items)
        if keep.all():
            return self
        return self.rows(np.flatnonzero(keep), int(keep[: self.recalled].sum()))

    def _part(self, begin: int, end: int) -> History:
        part = slice(begin, end)
        recalled = max(0, min(self.recalled, end) - begin)
        return History(self.item_nums[part], self.timestamps[part], self.liked[part], recalled)


@dataclass(frozen=True, slots=True, eq=False)
class UserPast:
    """What is known of a user at one moment.

    Args:
        history: what they chose, but for items that they rejected since.
        rejected: items that they do not want.
    """

    history: History = field(default_factory=History)
    rejected: Rejected = field(default_factory=Rejected)

    def known(self, num_items: int) -> UserPast:
        """What concerns items with numbers in [0, num_items)."""
        return UserPast(self.history.known(num_items), self.rejected.known(num_items))


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request.

    Args:
        surface: what kind of request it is, as models know it; the engine gives the task of the
            surface that was asked for.
        text: what was typed; empty where nothing was.
        meant: what is searched instead, where the text was misspelt; empty where it was not.
        is_literal: whoever asks wants the text searched as it was typed.
        text_vector: (D,) unit vector of ``searched``; None where there is no text.
        user_id: external id, for logs and traces; empty for an unknown visitor.
        history: the user's events known at ``time``.
        rejected: items that the user does not want at ``time``; none of them is in the history.
        source_items: (S,) int32 items in context: the one looked at, the cart.
        exclude: (E,) int32 items that must not be answered, beside those that a filter removes.
        time: Unix seconds of the request; NaN where it does not matter.
        country: where the request comes from, in the words of the items; empty = unknown.
    """

    surface: Surface = "home"
    text: str = ""
    text_vector: FloatArray | None = None
    user_id: str = ""
    history: History = field(default_factory=History)
    rejected: Rejected = field(default_factory=Rejected)
    source_items: IntArray = field(default_factory=lambda: NO_ITEMS)
    exclude: IntArray = field(default_factory=lambda: NO_ITEMS)
    time: float = math.nan
    country: str = ""
    meant: str = ""
    is_literal: bool = False

    @property
    def searched(self) -> str:
        """The words that count: those meant, else those typed."""
        return self.meant or self.text

    def with_text_vector(self, vector: FloatArray) -> Query:
        """A copy that carries the encoded text."""
        return replace(self, text_vector=vector)
