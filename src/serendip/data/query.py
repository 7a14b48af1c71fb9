"""Requests and user histories in item numbers, and search in long histories (SIM).

``select_relevant_history`` reduces a long history to the newest events and the older ones that are
relevant to the request: an event of long ago matters if its item is similar to what the request is
about. Similarity is the length of the common prefix of semantic IDs.

This is the general search unit of SIM (Pi et al. 2020, arXiv 2006.05639). SIM keeps the events that
share the category of one candidate; here the request takes the place of the candidate and code
prefixes take the place of categories, so that one search serves all candidates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import (
    NO_ITEMS,
    BoolArray,
    FloatArray,
    IntArray,
    TimeArray,
    are_within,
    distinct,
    locate,
)
from serendip.data.events.event import NO_SESSION
from serendip.data.events.rejections import Rejected
from serendip.data.items.attribute_test import AttributeTest
from serendip.data.rules import Rule

RetrievalTask = Literal["home", "similar", "search"]  # those that retrievers learn apart
RETRIEVAL_TASKS: tuple[RetrievalTask, ...] = ("home", "similar", "search")

Task = Literal["home", "similar", "search", "cart", "thank_you"]  # those that rankers learn apart
# In the order of their numbers in training data.
TASKS: tuple[Task, ...] = (*RETRIEVAL_TASKS, "cart", "thank_you")
# The task as which requests are answered where nothing was learned for theirs.
NEAREST_TASK: Mapping[Task, Task] = {"cart": "similar", "thank_you": "similar"}
ITEM_TASKS: tuple[Task, ...] = ("similar", "cart", "thank_you")  # their requests start from items


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Interactions of one user, oldest first, without negative events.

    Args:
        item_nums: (T,) int32 item numbers.
        timestamps: (T,) float64 Unix seconds, non-decreasing.
        liked: (T,) bool, True where the event counts as a like (see ``ActionRules``).
        recalled: number of leading events retrieved from further back for this request (see
            ``select_relevant_history``); events between them and the others are omitted.
        sessions: (T,) int64 ``session_code`` of the events; None = none is known.
        derived: what requests compute from the history alone, for later ones.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    timestamps: TimeArray = field(default_factory=lambda: np.empty(0, dtype=np.float64))
    liked: BoolArray = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    recalled: int = 0
    sessions: NDArray[np.int64] | None = None
    derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.item_nums)

    @classmethod
    def of_items(cls, item_nums: IntArray) -> History:
        """Build from item numbers in order, with times 0 and no likes."""
        count = len(item_nums)
        return cls(np.asarray(item_nums, np.int32), np.zeros(count), np.zeros(count, np.bool_))

    def then(self, item_nums: IntArray, time: float, session: int) -> History:
        """The history with further items (C,) that were chosen at a time, in one session."""
        count, sessions = len(item_nums), self.sessions
        if session and sessions is None:
            sessions = np.zeros(len(self), np.int64)
        return History(
            np.concatenate([self.item_nums, item_nums]),
            np.concatenate([self.timestamps, np.full(count, time)]),
            np.concatenate([self.liked, np.zeros(count, np.bool_)]),
            self.recalled,
            None if sessions is None else np.concatenate([sessions, np.full(count, session)]),
        )

    @property
    def items(self) -> IntArray:
        """(M,) int32 distinct items, ascending; computed once."""
        found: IntArray | None = self.derived.get("items")
        if found is None:
            found = self.derived["items"] = distinct(self.item_nums)
        return found

    def before(self, time: float) -> History:
        """Events strictly before ``time``."""
        return self._part(0, int(np.searchsorted(self.timestamps, time, side="left")))

    def first(self, count: int) -> History:
        """The ``count`` oldest events."""
        return self._part(0, count)

    def without(self, item_nums: IntArray) -> History:
        """Events without those on these items."""
        kept = ~np.isin(self.item_nums, item_nums)
        return self.rows(np.flatnonzero(kept), int(kept[: self.recalled].sum()))

    def last(self, count: int) -> History:
        """The ``count`` most recent events, still oldest first."""
        return self._part(max(0, len(self) - count), len(self))

    def rows(self, rows: NDArray[np.integer] | slice, recalled: int) -> History:
        """Select events by ascending row; the first ``recalled`` of them were retrieved."""
        sessions = None if self.sessions is None else self.sessions[rows]
        return History(
            self.item_nums[rows], self.timestamps[rows], self.liked[rows], recalled, sessions
        )

    def known(self, num_items: int) -> History:
        """Events with item numbers in [0, num_items)."""
        if are_within(self.item_nums, num_items):
            return self
        keep = (self.item_nums >= 0) & (self.item_nums < num_items)
        return self.rows(np.flatnonzero(keep), int(keep[: self.recalled].sum()))

    def _part(self, begin: int, end: int) -> History:
        return self.rows(slice(begin, end), max(0, min(self.recalled, end) - begin))


@dataclass(frozen=True, slots=True, eq=False)
class UserPast:
    """A user's history and rejections at one moment.

    Args:
        country: of the user; empty = not known.
        groups: attribute -> value of the user, see ``data.users.groups``.
    """

    history: History = field(default_factory=History)
    rejected: Rejected = field(default_factory=Rejected)
    country: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def query(self, task: Task = "home", **fields: Any) -> Query:
        """A request at this moment; ``fields`` are others of ``Query``, or other values."""
        known = {"history": self.history, "rejected": self.rejected}
        known |= {"country": self.country, "user_groups": self.groups}
        return Query(task, **{**known, **fields})

    def known(self, num_items: int) -> UserPast:
        """Restrict to items with numbers in [0, num_items)."""
        history, rejected = self.history.known(num_items), self.rejected.known(num_items)
        is_same = history is self.history and rejected is self.rejected
        return self if is_same else replace(self, history=history, rejected=rejected)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request.

    Args:
        task: as which it is answered; each surface names one.
        text: as typed, folded (``data.text.fold``), of a sentence what it asks for; empty without a
            text.
        typed: the text before it was folded, to be shown.
        meant: what is searched instead of a misspelt text or a sentence; empty = the text as typed.
        is_literal: whether to search the text as typed, without corrections.
        text_vector: (D,) unit vector of ``searched`` in the space of the items; None without a
            text.
        encoded_text: (C,) the same as the text encoder has it, before pictures or sounds are fused
            with texts; None = not known.
        user_id: external id, for logs and traces; empty for an unknown visitor.
        history: the user's events known at ``time``.
        rejected: items that the user does not want at ``time``; none of them is in the history.
        source_items: (S,) int32 items in context: the one viewed, the cart.
        again: (A,) int32 items of the history, ascending, that may be shown again (``Repeats``).
        exclude: (E,) int32 items to exclude from the answer, besides those that filters remove.
        worn: (W,) int32 items that were shown to the user too often, see ``FrequencyConfig``.
        time: Unix seconds of the request; NaN if it does not matter.
        country: of the request, spelt as in the items' attribute; empty = unknown.
        device: of the request; empty = unknown.
        session: ``session_code`` of the visit; 0 = unknown.
        user_groups: attribute -> value of the user, see ``data.users.groups``.
        filters: tests that every item of the answer passes.
        rules: that apply to it, those that come first in front.
        derived: what models compute from this query alone, for one another.
    """

    task: Task = "home"
    text: str = ""
    text_vector: FloatArray | None = None
    encoded_text: FloatArray | None = None
    user_id: str = ""
    history: History = field(default_factory=History)
    rejected: Rejected = field(default_factory=Rejected)
    source_items: IntArray = field(default_factory=lambda: NO_ITEMS)
    again: IntArray = field(default_factory=lambda: NO_ITEMS)
    exclude: IntArray = field(default_factory=lambda: NO_ITEMS)
    worn: IntArray = field(default_factory=lambda: NO_ITEMS)
    time: float = math.nan
    country: str = ""
    device: str = ""
    session: int = NO_SESSION
    user_groups: Mapping[str, str] = field(default_factory=dict)
    typed: str = ""
    meant: str = ""
    is_literal: bool = False
    filters: tuple[AttributeTest, ...] = ()
    rules: tuple[Rule, ...] = ()
    derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def searched(self) -> str:
        """The text to search: the corrected one, else the one typed."""
        return self.meant or self.text

    @property
    def has_context(self) -> bool:
        """Whether it tells of items: by a past, or source items."""
        return bool(len(self.history) or len(self.source_items))

    @property
    def shown(self) -> str:
        """The searched text as people read it."""
        return self.meant or self.typed or self.text

    def known(self, num_items: int) -> Query:
        """The query without items whose numbers are outside [0, num_items)."""
        arrays = (self.history.item_nums, self.rejected.item_nums, self.source_items, self.exclude)
        if all(are_within(numbers, num_items) for numbers in arrays):
            return self
        inside = [
            nums[(nums >= 0) & (nums < num_items)]
            for nums in (self.source_items, self.exclude, self.again)
        ]
        return replace(
            self,
            history=self.history.known(num_items),
            rejected=self.rejected.known(num_items),
            source_items=inside[0],
            exclude=inside[1],
            again=inside[2],
        )


RECENT, RECALLED = 40, 10  # newest events to keep, and older ones to retrieve at most
# Older events that are searched, the newest: a request costs no more with 100,000 events.
SEARCHED = 20_000
_CONTEXT_EVENTS = 10  # newest events that describe a request, besides its own codes


def select_relevant_history(
    history: History,
    codes: IntArray,
    named: IntArray,
    recent: int = RECENT,
    recalled: int = RECALLED,
) -> History:
    """Select at most ``recent + recalled`` events of a history, in order of time.

    Keeps the ``recent`` newest events and retrieves, among the ``SEARCHED`` before them, the ones
    whose codes share the longest prefix with the request's codes. Ties are broken by the prefix
    shared with the last 10 events, then by recency. An event that shares no prefix with either is
    not retrieved; neither is an item twice, nor one that a recent event has. If the history was
    reduced before, only the events retrieved then are considered: the earlier caller may have known
    more of the request.

    Args:
        history: T events; item numbers outside [0, N) are never retrieved. A history of at most
            ``recent + recalled`` events is returned unchanged.
        codes: (N, L) semantic IDs, coarse to fine; L = 0 retrieves nothing.
        named: (A, L) codes of the request: of its source items and its text.
        recent: number of newest events.
        recalled: maximum number of older ones.

    Returns:
        a history whose first ``History.recalled`` events were retrieved.
    """
    if len(history) <= recent + recalled:
        return history
    border = len(history) - recent
    rows, older, depth = _older_events(history, codes, border)
    depth = depth + shared_prefix(older, named) * (codes.shape[1] + 1)
    rows, depth = rows[depth > 0], depth[depth > 0]
    if len(rows) > recalled:
        order = np.argpartition(-(depth * border + rows), recalled)[:recalled]
        rows = np.sort(rows[order])
    return history.rows(np.concatenate([rows, np.arange(border, len(history))]), len(rows))


_Older = tuple[NDArray[np.intp], IntArray, NDArray[np.int64]]


def _older_events(history: History, codes: IntArray, border: int) -> _Older:
    """What can be retrieved from before row ``border``, whatever the request; kept for the next.

    Returns:
        rows (M,) of the last event of each item, ascending; their codes (M, L); and the length (M,)
        of the longest prefix that each shares with the newest events.
    """
    key = ("older", border)
    known: tuple[IntArray, _Older] | None = history.derived.get(key)
    if known is None or known[0] is not codes:
        newest = history.item_nums[border:]
        newest = newest[(newest >= 0) & (newest < len(codes))]
        until = min(history.recalled or border, border)
        begin = max(0, until - SEARCHED)
        rows = begin + _last_of_each(history.item_nums[begin:until], newest, len(codes))
        older = codes[history.item_nums[rows]]
        depth = shared_prefix(older, codes[newest[-_CONTEXT_EVENTS:]])
        history.derived[key] = known = codes, (rows, older, depth)
    return known[1]


def shared_prefix(codes: IntArray, others: IntArray) -> NDArray[np.int64]:
    """Length (T,) of the longest prefix that each of codes (T, L) shares with any of (A, L)."""
    length = np.zeros(len(codes), dtype=np.int64)
    if not len(others):
        return length
    agree = np.ones((len(codes), len(others)), np.bool_)  # (T, A)
    for level in range(codes.shape[1]):
        agree &= codes[:, level, None] == others[:, level]
        length += agree.any(axis=1)
    return length


def _last_of_each(items: IntArray, without: IntArray, num_items: int) -> NDArray[np.intp]:
    """Ascending rows of the last event of each item in [0, N), without items ``without``."""
    # One sort of 64-bit keys, item before row, is much faster than an indirect sort of the items.
    keys = np.sort((items.astype(np.int64) << 32) | np.arange(len(items)))
    ordered = keys >> 32
    is_last = np.append(ordered[1:] != ordered[:-1], True)[: len(keys)]
    is_last &= (ordered >= 0) & (ordered < num_items)
    rows: NDArray[np.intp] = np.sort(keys[is_last] & 0xFFFFFFFF)
    return rows[~locate(distinct(without), items[rows])[1]]
