"""Requests that were answered and logged: what was asked, shown and done.

Events of one ``request_id`` are one request: its impressions are what was shown, its interactions
what was chosen. An interaction with words and without a ``request_id`` is a request of its own, of
which it is not known what was shown. (Plain logs of search engines look like that.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.event import ActionRules, Event
from serendip.data.vocabulary import Vocabulary

IMPRESSION = "impression"


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRequest:
    """One request; items by number.

    Args:
        user_id: who asked.
        timestamp: Unix seconds, of its first event.
        ended: of its last one.
        surface: where it happened; ``search`` where only words are known, else ``home``.
        text: what was typed.
        shown: (S,) int32 what was shown and what was chosen, ascending; empty = not logged.
        chosen: (C,) int32 what was chosen, ascending.
        liked: (C,) bool, which of them were liked.
    """

    user_id: str
    timestamp: float
    ended: float
    surface: str
    text: str
    shown: IntArray
    chosen: IntArray
    liked: BoolArray

    def renumbered(self, numbers: IntArray) -> LoggedRequest:
        """In other item numbers; -1 = an item that is not there any more."""
        shown, chosen = numbers[self.shown], numbers[self.chosen]
        known, order = chosen >= 0, np.argsort(chosen[chosen >= 0])
        return LoggedRequest(
            self.user_id,
            self.timestamp,
            self.ended,
            self.surface,
            self.text,
            np.sort(shown[shown >= 0]),
            chosen[known][order],
            self.liked[known][order],
        )

    @property
    def says_something(self) -> bool:
        """True where something was chosen, or was shown and not chosen."""
        return len(self.shown) + len(self.chosen) > 0


def logged_requests(
    events: Iterable[Event], vocabulary: Vocabulary, rules: ActionRules
) -> list[LoggedRequest]:
    """The requests of some events, in order of time.

    Args:
        events: with a ``request_id`` or words, oldest first.
        vocabulary: the items; events with others are left out.
        rules: which actions are interactions and which likes.
    """
    groups: dict[tuple[str, str], list[Event]] = {}
    for place, event in enumerate(events):
        # A sender that repeats a request id for somebody else means another request.
        key = (event.user_id, event.request_id or f"\0{place}")
        groups.setdefault(key, []).append(event)
    found = (_request(group, vocabulary, rules) for group in groups.values())
    return sorted((one for one in found if one.says_something), key=lambda one: one.timestamp)


def _request(events: Sequence[Event], vocabulary: Vocabulary, rules: ActionRules) -> LoggedRequest:
    text = next((event.query for event in events if event.query.strip()), "")
    surface = next((event.surface for event in events if event.surface), "")
    shown: set[int] = set()
    liked: dict[int, bool] = {}
    for event in events:
        number = vocabulary.number(event.item_id)
        if number < 0:
            continue
        if event.action == IMPRESSION:
            shown.add(number)
        elif event.action not in rules.ignore:
            liked[number] = liked.get(number, False) or rules.is_like(event.action, event.value)
    chosen = np.array(sorted(liked), np.int32)
    return LoggedRequest(
        events[0].user_id,
        events[0].timestamp,
        events[-1].timestamp,
        surface or ("search" if text else "home"),
        text,
        np.array(sorted(shown | set(liked)) if shown else [], np.int32),
        chosen,
        np.array([liked[number] for number in chosen.tolist()], np.bool_),
    )
