"""What people searched: one row per search, with what was chosen after it.

Events of one ``request_id`` are one search; an event with words and none is a search of its own.
Suggested queries that were shown or clicked (surface ``suggest``) are no searches: see
``SuggestedQuery``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.analysis import normalise
from serendip.data.arrays import IntArray
from serendip.data.event import ActionRules, Event
from serendip.data.requests import IMPRESSION, choices_of
from serendip.data.vocabulary import Vocabulary

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


def searches_of(
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


def suggested_of(events: Iterable[Event], rules: ActionRules) -> list[SuggestedQuery]:
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


def typed_on(searches: Sequence[Search], within_s: float) -> list[bool]:
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
