"""What people searched: one row per search, with what was chosen after it.

Events of one ``request_id`` are one search; an event with words and none is a search of its own.
Suggested queries that were shown or clicked (surface ``suggest``) are no searches: see
``SuggestedQuery``.

Requests that were answered and logged: what was asked, shown and done.

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
from serendip.data.text import normalise
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


SUGGESTED = "suggest"
"""Surface of events about suggested queries."""

SIMILAR = "similar"
"""Surface of events about what is like an item."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search.

    Args:
        user_id: who.
        timestamp: Unix seconds, of its first event.
        text: as it was typed.
        key: its normal form.
        chosen: (C,) int32 items that were chosen, ascending; empty = none, or nobody knows.
    """

    user_id: str
    timestamp: float
    text: str
    key: str
    chosen: IntArray


@dataclass(frozen=True, slots=True)
class SuggestedQuery:
    """A suggested query that somebody saw.

    Args:
        user_id: who.
        timestamp: Unix seconds, when it was seen.
        request_id: of the answer that it was part of.
        key: normal form of the query.
        propensity: chance that it had to be shown there, in (0, 1].
        clicked: whether it was clicked.
    """

    user_id: str
    timestamp: float
    request_id: str
    key: str
    propensity: float
    clicked: bool


def read_searches(
    events: Iterable[Event], vocabulary: Vocabulary, rules: ActionRules
) -> list[Search]:
    """The searches of some events, in order of time.

    Args:
        events: with a ``request_id`` or words, oldest first.
        vocabulary: the items; choices of others are left out.
        rules: which events are choices.
    """
    groups: dict[tuple[str, str], list[Event]] = {}
    for place, event in enumerate(events):
        if event.surface != SUGGESTED:
            key = (event.user_id, event.request_id or f"\0{place}")
            groups.setdefault(key, []).append(event)
    found = []
    for group in groups.values():
        text = next((event.query for event in group if normalise(event.query)), "")
        chosen = {vocabulary.number(event.item_id) for event in choices_of(group, rules)}
        if text:
            items = np.array(sorted(chosen - {-1}), np.int32)
            first = group[0]
            found.append(Search(first.user_id, first.timestamp, text, normalise(text), items))
    return sorted(found, key=lambda one: one.timestamp)


def read_suggested(events: Iterable[Event], rules: ActionRules) -> list[SuggestedQuery]:
    """Suggested queries that were seen, in order of time; each once per answer.

    Args:
        events: with a ``request_id`` or words, oldest first.
        rules: which actions are clicks; the values of these events are chances, not ratings.
    """
    shown: dict[tuple[str, str, str], Event] = {}
    clicked: set[tuple[str, str, str]] = set()
    for event in events:
        place = (event.user_id, event.request_id, normalise(event.query))
        if event.surface != SUGGESTED or event.item_id or not place[1] or not place[2]:
            continue
        if event.action != IMPRESSION and rules.is_interest(event.action, None):
            clicked.add(place)
        shown.setdefault(place, event)
    found = [
        SuggestedQuery(
            event.user_id, event.timestamp, place[1], place[2], _chance(event), place in clicked
        )
        for place, event in shown.items()
    ]
    return sorted(found, key=lambda one: one.timestamp)


def similar_choices(events: Iterable[Event], rules: ActionRules) -> dict[str, list[float]]:
    """User -> times at which they chose from what is like an item; ``events`` oldest first."""
    found: dict[str, list[float]] = {}
    for event in events:
        if (
            event.surface == SIMILAR
            and event.item_id
            and rules.is_interest(event.action, event.value)
        ):
            found.setdefault(event.user_id, []).append(event.timestamp)
    return found


def is_prefix_of_next(searches: Sequence[Search], within_s: float) -> list[bool]:
    """Per search, whether the same user went on typing it: the next search begins with its words.

    Args:
        searches: in order of time.
        within_s: seconds within which the next search is the same attempt.
    """
    result = [False] * len(searches)
    last: dict[str, int] = {}
    for row, now in enumerate(searches):
        before = last.get(now.user_id)
        last[now.user_id] = row
        if before is None or now.timestamp - searches[before].timestamp > within_s:
            continue
        earlier = searches[before].key
        result[before] = now.key != earlier and now.key.startswith(earlier)
    return result


def _chance(event: Event) -> float:
    """What the page sent as its value; 1 where it sent none."""
    known = event.value is not None and 0.0 < event.value <= 1.0
    return float(event.value) if known and event.value is not None else 1.0
