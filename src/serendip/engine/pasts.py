"""What users did, as arrays in memory: requests read a past of thousands of events in no time.

A user's events are read from the store at the first request and kept; from then on the log is
followed: before every answer, events that anybody (other processes, too) appended since are read
and added to the pasts they belong to. So an event is in the first answer after its write returned,
and none is read twice. What is kept is dropped when events were taken out of the log (an import),
when too many came at once, and, least recently used first, when there is too much of it.

Numbers are those of one generation: an engine has its own ``Pasts``, which ends with it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.event import ActionRules
from serendip.data.event_columns import EventColumns
from serendip.data.query import History
from serendip.data.snapshot import likes
from serendip.data.store import Store
from serendip.data.vocabulary import MISSING, Vocabulary

MOST_EVENTS = 2_000_000
"""Events kept over all users; one takes 13 bytes."""

_FOLLOWED = 1_000
"""More new events at once are not followed: what is kept is dropped, which costs less."""

_OVERHEAD = 20
"""A past takes about as much memory as so many of its events on top of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """All interactions of one user.

    Args:
        history: in order of time, unknown items as -1.
        unknown: place -> id of unknown items; they may be posted later.
        num_known: size of the vocabulary that the ids were looked up in.
        seq: number of the last event of the log that was looked at.
    """

    history: History
    unknown: tuple[tuple[int, str], ...]
    num_known: int
    seq: int

    @classmethod
    def of(cls, events: EventColumns, rules: ActionRules, vocabulary: Vocabulary, seq: int) -> Past:
        """From all events of a user in order of time; what says nothing about taste is left out."""
        matters = {action: action not in rules.ignore for action in set(events.actions)}
        rows = [row for row, action in enumerate(events.actions) if matters[action]]
        numbers = vocabulary.numbers(events.item_ids[row] for row in rows)
        history = History(numbers, events.timestamps[rows], likes(events, rules)[rows])
        missing = np.flatnonzero(numbers == MISSING).tolist()
        unknown = tuple((place, events.item_ids[rows[place]]) for place in missing)
        return cls(history, unknown, len(vocabulary), seq)

    def __len__(self) -> int:
        return len(self.history)

    def merged(self, newer: Past) -> Past:
        """With events that were appended to the log after all of these, whenever they happened."""
        old, new = self.history, newer.history
        if not len(new):
            return replace(self, seq=newer.seq)
        times = np.concatenate([old.timestamps, new.timestamps])
        order = np.argsort(times, kind="stable")
        history = History(
            np.concatenate([old.item_nums, new.item_nums])[order],
            times[order],
            np.concatenate([old.liked, new.liked])[order],
        )
        shifted = ((place + len(old), name) for place, name in newer.unknown)
        places = np.argsort(order)
        unknown = tuple((int(places[at]), name) for at, name in (*self.unknown, *shifted))
        return Past(history, unknown, min(self.num_known, newer.num_known), newer.seq)

    def known_to(self, vocabulary: Vocabulary) -> Past:
        """With numbers for items that were posted since."""
        if not self.unknown or self.num_known >= len(vocabulary):
            return self
        numbers = self.history.item_nums.copy()
        for place, name in self.unknown:
            numbers[place] = vocabulary.number(name)
        unknown = tuple(one for one in self.unknown if numbers[one[0]] == MISSING)
        return Past(replace(self.history, item_nums=numbers), unknown, len(vocabulary), self.seq)


class Pasts:
    """Pasts of the users of one store; safe to use from many threads.

    Args:
        store: where events are.
        rules: which of them are interactions and which likes.
        most_events: kept over all users.
    """

    def __init__(self, store: Store, rules: ActionRules, most_events: int = MOST_EVENTS) -> None:
        self._log = store.log
        self._rules = rules
        self._most = most_events
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Past] = OrderedDict()
        self._size = 0
        self._mark = self._log.mark()

    def history(self, user_id: str, vocabulary: Vocabulary) -> History:
        """All interactions of a user with items of a vocabulary, oldest first.

        Args:
            user_id: external id; an unknown one has an empty history.
            vocabulary: the generation's, or one that it was extended to since.
        """
        with self._lock:
            self._follow(vocabulary)
            past = self._kept.get(user_id)
            if past is None:
                events, seq = self._log.past(user_id, self._rules.ignore)
                past = Past.of(events, self._rules, vocabulary, seq)
            past = past.known_to(vocabulary)
            self._keep(user_id, past)
        return past.history.known(len(vocabulary))

    @property
    def num_events(self) -> int:
        """Events in memory."""
        return sum(map(len, self._kept.values()))

    def _follow(self, vocabulary: Vocabulary) -> None:
        """Take in what was appended to the log since the last request."""
        mark, events, seqs = self._log.after(self._mark.seq, _FOLLOWED)
        if mark.removals != self._mark.removals or mark.seq > self._mark.seq + _FOLLOWED:
            self._kept.clear()
            self._size = 0
        self._mark = mark
        for user_id in set(events.user_ids) & self._kept.keys():
            past = self._kept[user_id]
            rows = [row for row, seq in enumerate(seqs) if seq > past.seq]
            rows = [row for row in rows if events.user_ids[row] == user_id]
            newer = Past.of(events.rows(rows), self._rules, vocabulary, mark.seq)
            self._keep(user_id, past.merged(newer))

    def _keep(self, user_id: str, past: Past) -> None:
        """Put a past in the newest place; the oldest go where there is no room."""
        before = self._kept.pop(user_id, None)
        self._size += _size(past) - (0 if before is None else _size(before))
        self._kept[user_id] = past
        while self._size > self._most and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _size(dropped)


def _size(past: Past) -> int:
    return len(past) + _OVERHEAD
