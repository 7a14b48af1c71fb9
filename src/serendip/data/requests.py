"""Requests that were answered and logged: what was asked, shown and done.

Events of one ``request_id`` are one request: its impressions are what was shown, its interactions
what was chosen, but for what was rejected after. An interaction with words and without a
``request_id`` is a request of its own, of which it is not known what was shown. (Plain logs of
search engines look like that.)
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
        actions: of each what was done with it; empty = not known.
    """

    user_id: str
    timestamp: float
    ended: float
    surface: str
    text: str
    shown: IntArray
    chosen: IntArray
    liked: BoolArray
    actions: Sequence[frozenset[str]] = ()

    def renumbered(self, numbers: IntArray) -> LoggedRequest:
        """In other item numbers; -1 = an item that is not there any more."""
        shown, chosen = numbers[self.shown], numbers[self.chosen]
        kept = np.flatnonzero(chosen >= 0)
        kept = kept[np.argsort(chosen[kept])]
        return LoggedRequest(
            self.user_id,
            self.timestamp,
            self.ended,
            self.surface,
            self.text,
            np.sort(shown[shown >= 0]),
            chosen[kept],
            self.liked[kept],
            [self.actions[place] for place in kept.tolist()] if self.actions else (),
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
        rules: which events are interactions, likes or negative.
    """
    groups: dict[tuple[str, str], list[Event]] = {}
    for place, event in enumerate(events):
        # A sender that repeats a request id for somebody else means another request.
        key = (event.user_id, event.request_id or f"\0{place}")
        groups.setdefault(key, []).append(event)
    found = (_request(group, vocabulary, rules) for group in groups.values())
    return sorted((one for one in found if one.says_something), key=lambda one: one.timestamp)


def choices_of(events: Iterable[Event], rules: ActionRules) -> list[Event]:
    """Events of one request that chose an item, but for those with items that were rejected after.

    Args:
        events: of the request, oldest first.
        rules: which events are interactions, and which negative.
    """
    chosen: dict[str, list[Event]] = {}
    rejected: set[str] = set()
    for event in (one for one in events if one.action != IMPRESSION):
        if rules.takes_back(event.action, event.value):
            rejected.discard(event.item_id)
        if rules.rejects(event.action, event.value):
            rejected.add(event.item_id)
            chosen.pop(event.item_id, None)
        elif event.item_id not in rejected and rules.is_interest(event.action, event.value):
            chosen.setdefault(event.item_id, []).append(event)
    return [event for of_item in chosen.values() for event in of_item]


def _request(events: Sequence[Event], vocabulary: Vocabulary, rules: ActionRules) -> LoggedRequest:
    text = next((event.query for event in events if event.query.strip()), "")
    surface = next((event.surface for event in events if event.surface), "")
    seen = {vocabulary.number(one.item_id) for one in events if one.action == IMPRESSION} - {-1}
    liked: dict[int, bool] = {}
    actions: dict[int, frozenset[str]] = {}
    for event in choices_of(events, rules):
        number = vocabulary.number(event.item_id)
        if number >= 0:
            liked[number] = liked.get(number, False) or rules.is_like(event.action, event.value)
            actions[number] = actions.get(number, frozenset()) | {event.action}
    chosen = np.array(sorted(liked), np.int32)
    return LoggedRequest(
        events[0].user_id,
        events[0].timestamp,
        events[-1].timestamp,
        surface or ("search" if text else "home"),
        text,
        np.array(sorted(seen | set(liked)) if seen else [], np.int32),
        chosen,
        np.array([liked[number] for number in chosen.tolist()], np.bool_),
        [actions[number] for number in chosen.tolist()],
    )
