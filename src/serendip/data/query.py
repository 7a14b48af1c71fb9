"""The one currency of requests: everything known about what is asked, in item numbers.

A ``Query`` is built once, at the door (``engine`` turns ids into numbers, fetches the history and
encodes the text), and is read-only from there on.

A long past in few events: the newest ones, and older ones that bear on the request.

What was done thousands of events ago matters where it is about the same things as the request.
"The same" is read off semantic IDs: the codes of what the request is about form a trie, and the
older events walk down it, all at once, one level after the other. The longer an event's way, the
more it bears on the request.

This is the general search unit of SIM (Pi et al. 2020, arXiv 2006.05639). There, events are kept
that share the category of one candidate; here the request takes the place of the candidate and
code prefixes that of categories, so that one search serves all candidates.
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

Task = Literal["home", "similar", "search"]
"""Kinds of requests that rankers and retrievers learn apart; every surface is answered as one."""

TASKS: tuple[Task, ...] = ("home", "similar", "search")
"""In the order of their numbers in training data."""


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

    def known(self, num_items: int) -> Query:
        """The query without items whose numbers are outside [0, num_items)."""
        inside = [
            nums[(nums >= 0) & (nums < num_items)] for nums in (self.source_items, self.exclude)
        ]
        return replace(
            self,
            history=self.history.known(num_items),
            rejected=self.rejected.known(num_items),
            source_items=inside[0],
            exclude=inside[1],
        )

    def with_text_vector(self, vector: FloatArray) -> Query:
        """A copy that carries the encoded text."""
        return replace(self, text_vector=vector)


RECENT, RECALLED = 40, 10
"""Newest events that are kept, and older ones that may be pulled in beside them."""

_ABOUT = 10
"""So many of the newest events say what a request is about, beside what it names."""


def select_relevant_history(
    history: History,
    codes: IntArray,
    named: IntArray,
    recent: int = RECENT,
    recalled: int = RECALLED,
) -> History:
    """At most ``recent + recalled`` events of a history, in order of time; O(T).

    Kept are the ``recent`` newest events and, of those before, the ones whose codes share the
    longest prefix with what the request names; equal ones in turn with the last 10 events; still
    equal ones from new to old. Events that share no prefix with either are not pulled in, and no
    item is pulled in twice or beside a recent event with it. Of a history that was condensed before
    only what was pulled in then is considered: whoever did it may have known more of the request.

    Args:
        history: T events; those with item numbers outside [0, N) are never pulled in. One of at
            most ``recent + recalled`` events is returned as it is.
        codes: (N, L) semantic IDs, coarse to fine; L = 0 pulls in nothing.
        named: (A, L) codes of what the request names: its source items, its words.
        recent: newest events to keep.
        recalled: most older events to pull in.

    Returns:
        a history whose first ``History.recalled`` events were pulled in.
    """
    if len(history) <= recent + recalled:
        return history
    border = len(history) - recent
    newest = history.item_nums[border:]
    newest = newest[(newest >= 0) & (newest < len(codes))]
    until = min(history.recalled or border, border)
    rows = _last_of_each(history.item_nums[:until], newest, codes)
    own = codes[history.item_nums[rows]]
    depth = shared_prefix(own, named) * (codes.shape[1] + 1)
    depth += shared_prefix(own, codes[newest[-_ABOUT:]])
    rows, depth = rows[depth > 0], depth[depth > 0]
    if len(rows) > recalled:
        order = np.argpartition(-(depth * border + rows), recalled)[:recalled]
        rows = np.sort(rows[order])
    return history.rows(np.concatenate([rows, np.arange(border, len(history))]), len(rows))


def shared_prefix(codes: IntArray, others: IntArray) -> NDArray[np.int64]:
    """Length (T,) of the longest prefix that each of codes (T, L) shares with any of (A, L)."""
    length = np.zeros(len(codes), dtype=np.int64)
    if not len(others):
        return length
    walking = np.arange(len(codes))
    node, branch = np.zeros(len(codes), np.int64), np.zeros(len(others), np.int64)
    for level in range(codes.shape[1]):
        # Codes beyond the largest one in the trie share a column that leads nowhere.
        nowhere = int(others[:, level].max()) + 1
        steps = branch * (nowhere + 1) + others[:, level]
        below = np.full((int(branch.max()) + 1) * (nowhere + 1), -1, dtype=np.int64)
        children, branch = np.unique(steps, return_inverse=True)
        below[children] = np.arange(len(children))
        node = below[node * (nowhere + 1) + np.minimum(codes[walking, level], nowhere)]
        walking, node = walking[node >= 0], node[node >= 0]
        length[walking] += 1
    return length


def _last_of_each(items: IntArray, without: IntArray, codes: IntArray) -> NDArray[np.intp]:
    """Ascending rows of each item's last event; items ``without`` or without codes are left out.

    Tables by item number instead of sorting: they cost nothing until they are touched.
    """
    leave_out, last = np.zeros(len(codes), np.bool_), np.zeros(len(codes), np.intp)
    leave_out[without] = True
    rows = np.flatnonzero((items >= 0) & (items < len(codes)))
    rows = rows[~leave_out[items[rows]]]
    last[items[rows]] = rows
    newest: NDArray[np.intp] = rows[last[items[rows]] == rows]
    return newest
