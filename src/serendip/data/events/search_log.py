"""Search and request log: groups events into requests, searches and suggested queries.

``LoggedRequest``: events with the same ``request_id`` form one request; its impressions are the
shown items, its interactions the chosen items, without those rejected afterwards. An interaction
with a query but without a ``request_id`` is a request of its own, with unknown impressions (plain
logs of search engines look like that).

``Search``: a request with a query, with the chosen items. Suggested queries that were shown or
clicked (surface ``suggest``) are not searches: they are ``SuggestedQuery`` rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, TimeArray
from serendip.data.artefact import Artefact
from serendip.data.events.event import NO_SESSION, ActionRules, Event, session_code
from serendip.data.events.interleaving import read_teams
from serendip.data.text import normalise
from serendip.data.vocabulary import Vocabulary

IMPRESSION = "impression"


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRequest(Artefact):
    """One logged request, in item numbers.

    Args:
        timestamp: Unix seconds of its first event.
        ended: Unix seconds of its last event.
        surface: as logged; if missing, ``search`` with a query and ``home`` without.
        shown: (S,) int32 shown or chosen items, ascending; empty = impressions not logged.
        chosen: (C,) int32 chosen items, ascending.
        liked: (C,) bool, which of them were liked.
        actions: actions on each chosen item; empty = unknown.
        positions: (S,) int32 0-based positions of the shown items, -1 = unknown; empty = all are.
        country: of the request; empty = unknown.
        device: of the request; empty = unknown.
        propensities: (S,) float64 probabilities with which shown items were drawn for their
            positions, NaN = was not drawn or has no impression; empty = none was.
        session: ``session_code`` of the request; 0 = unknown.
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
    positions: IntArray = field(default_factory=lambda: NO_ITEMS)
    country: str = ""
    device: str = ""
    propensities: TimeArray = field(default_factory=lambda: np.empty(0))
    session: int = NO_SESSION

    def renumbered(self, numbers: IntArray) -> LoggedRequest:
        """Map to new item numbers, given by old number; -1 = dropped."""
        shown, chosen = numbers[self.shown], numbers[self.chosen]
        kept = np.flatnonzero(chosen >= 0)
        kept = kept[np.argsort(chosen[kept])]
        order = np.argsort(shown, kind="stable")
        order = order[shown[order] >= 0]
        return replace(
            self,
            shown=shown[order],
            chosen=chosen[kept],
            liked=self.liked[kept],
            actions=[self.actions[row] for row in kept.tolist()] if self.actions else (),
            positions=self.positions[order] if len(self.positions) else self.positions,
            propensities=self.propensities[order] if len(self.propensities) else self.propensities,
        )

    @property
    def says_something(self) -> bool:
        """True if it has chosen or shown items."""
        return len(self.shown) + len(self.chosen) > 0


def logged_requests(
    events: Iterable[Event], vocabulary: Vocabulary, rules: ActionRules
) -> list[LoggedRequest]:
    """Group events into requests, in order of time; events on other items are dropped.

    The events are those with a ``request_id`` or a query, oldest first.
    """
    requests = (_build_request(group, vocabulary, rules) for group in _by_request(events))
    return sorted(
        (request for request in requests if request.says_something),
        key=lambda request: request.timestamp,
    )


def _by_request(events: Iterable[Event]) -> Iterable[list[Event]]:
    groups: dict[tuple[str, str], list[Event]] = {}
    for row, event in enumerate(events):
        # The same id for another user is another request.
        key = (event.user_id, event.request_id or f"\0{row}")
        groups.setdefault(key, []).append(event)
    return groups.values()


def choices_of(events: Iterable[Event], rules: ActionRules) -> list[Event]:
    """The interactions of one request, without those on items that were rejected afterwards."""
    chosen: dict[str, list[Event]] = {}
    rejected: set[str] = set()
    for event in events:
        if event.action == IMPRESSION:
            continue
        if rules.takes_back(event.action, event.value):
            rejected.discard(event.item_id)
        if rules.rejects(event.action, event.value):
            rejected.add(event.item_id)
            chosen.pop(event.item_id, None)
        elif event.item_id not in rejected and rules.is_interest(event.action, event.value):
            chosen.setdefault(event.item_id, []).append(event)
    return [event for item_events in chosen.values() for event in item_events]


def _build_request(
    events: Sequence[Event], vocabulary: Vocabulary, rules: ActionRules
) -> LoggedRequest:
    text = next((event.query for event in events if event.query.strip()), "")
    surface = next((event.surface for event in events if event.surface), "")
    impressions = (event.item_id for event in events if event.action == IMPRESSION)
    seen = set(map(vocabulary.number, impressions)) - {-1}
    liked: dict[int, bool] = {}
    actions: dict[int, frozenset[str]] = {}
    for event in choices_of(events, rules):
        number = vocabulary.number(event.item_id)
        if number >= 0:
            liked[number] = liked.get(number, False) or rules.is_like(event.action, event.value)
            actions[number] = actions.get(number, frozenset()) | {event.action}
    chosen = np.array(sorted(liked), np.int32)
    shown = sorted(seen | set(liked)) if seen else []
    return LoggedRequest(
        events[0].user_id,
        events[0].timestamp,
        events[-1].timestamp,
        surface or ("search" if text else "home"),
        text,
        np.array(shown, np.int32),
        chosen,
        np.array([liked[number] for number in chosen.tolist()], np.bool_),
        [actions[number] for number in chosen.tolist()],
        _positions(events, shown, vocabulary),
        next((event.country for event in events if event.country), ""),
        next((event.device for event in events if event.device), ""),
        _propensities(events, shown, vocabulary),
        session_code(next((event.session_id for event in events if event.session_id), "")),
    )


def _positions(events: Sequence[Event], shown: Sequence[int], vocabulary: Vocabulary) -> IntArray:
    # The first event of an item that has a position tells it.
    found: dict[int, int] = {}
    for event in events:
        if event.position is not None:
            found.setdefault(vocabulary.number(event.item_id), event.position)
    if not found:
        return NO_ITEMS
    return np.array([found.get(number, -1) for number in shown], np.int32)


def _propensities(
    events: Sequence[Event], shown: Sequence[int], vocabulary: Vocabulary
) -> TimeArray:
    # Later events do not count: only what was chosen would have one.
    found: dict[int, float | None] = {}
    for event in events:
        if event.action == IMPRESSION:
            # That of an interleaved place is no exploration of a new item.
            chance = None if read_teams(event.request_id) else event.propensity
            found.setdefault(vocabulary.number(event.item_id), chance)
    drawn = np.array([found.get(number) for number in shown], np.float64)
    return np.empty(0) if np.isnan(drawn).all() else drawn


SUGGESTED = "suggest"
SIMILAR = "similar"


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search.

    Args:
        timestamp: Unix seconds of its first event.
        key: its normal form.
        chosen: (C,) int32 chosen items, ascending; empty = none or unknown.
    """

    user_id: str
    timestamp: float
    text: str
    key: str
    chosen: IntArray


@dataclass(frozen=True, slots=True)
class SuggestedQuery:
    """An impression of a suggested query.

    Args:
        timestamp: Unix seconds of the impression.
        key: normal form of the query.
    """

    user_id: str
    timestamp: float
    request_id: str
    key: str
    propensity: float  # with which it was shown there, in (0, 1]
    clicked: bool


def read_searches(
    events: Iterable[Event], vocabulary: Vocabulary, rules: ActionRules
) -> list[Search]:
    """Group events into searches, in order of time; choices of other items are dropped.

    The events are those with a ``request_id`` or a query, oldest first.
    """
    searches = []
    for group in _by_request(event for event in events if event.surface != SUGGESTED):
        text = next((event.query for event in group if normalise(event.query)), "")
        chosen = {vocabulary.number(event.item_id) for event in choices_of(group, rules)}
        if text:
            items = np.array(sorted(chosen - {-1}), np.int32)
            first = group[0]
            searches.append(Search(first.user_id, first.timestamp, text, normalise(text), items))
    return sorted(searches, key=lambda search: search.timestamp)


def read_suggested(events: Iterable[Event], rules: ActionRules) -> list[SuggestedQuery]:
    """Read the impressions of suggested queries, in order of time; each once per answer.

    Values of these events are no ratings.
    """
    shown: dict[tuple[str, str, str], Event] = {}
    clicked: set[tuple[str, str, str]] = set()
    for event in events:
        slot = (event.user_id, event.request_id, normalise(event.query))
        if event.surface != SUGGESTED or event.item_id or not slot[1] or not slot[2]:
            continue
        if event.action != IMPRESSION and rules.is_interest(event.action, None):
            clicked.add(slot)
        shown.setdefault(slot, event)
    impressions = [
        SuggestedQuery(
            event.user_id, event.timestamp, slot[1], slot[2], _propensity(event), slot in clicked
        )
        for slot, event in shown.items()
    ]
    return sorted(impressions, key=lambda impression: impression.timestamp)


def similar_choices(events: Iterable[Event], rules: ActionRules) -> dict[str, list[float]]:
    """User -> times at which they chose a similar item; ``events`` oldest first."""
    times: dict[str, list[float]] = {}
    for event in events:
        if (
            event.surface == SIMILAR
            and event.item_id
            and rules.is_interest(event.action, event.value)
        ):
            times.setdefault(event.user_id, []).append(event.timestamp)
    return times


def is_prefix_of_next(searches: Sequence[Search], within_s: float) -> list[bool]:
    """Per search, whether the same user's next one continues it within so many seconds."""
    result = [False] * len(searches)
    last: dict[str, int] = {}
    for row, search in enumerate(searches):
        previous = last.get(search.user_id)
        last[search.user_id] = row
        if previous is None or search.timestamp - searches[previous].timestamp > within_s:
            continue
        prefix = searches[previous].key
        result[previous] = search.key != prefix and search.key.startswith(prefix)
    return result


def _propensity(event: Event) -> float:
    """The event's propensity, else 1; older logs have it as the value of the event."""
    given = event.value if event.propensity is None else event.propensity
    return float(given) if given is not None and 0.0 < given <= 1.0 else 1.0
