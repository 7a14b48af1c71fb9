"""One event, and the rules that say which events are interest, likes or negative.

The whole event log as columns: how snapshots and checks read a store quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from serendip.config import Config
from serendip.data.arrays import TimeArray


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did, or was shown.

    Args:
        user_id: who.
        item_id: with which item; empty for a query without a click.
        timestamp: Unix seconds, UTC.
        action: kind of interaction (``click``, ``rate``, ``purchase``); ``impression`` = shown.
        value: strength, e.g. stars; None where the action has none.
        query: what was typed before it.
        request_id: the answer that led to it; joins clicks with what was shown.
        position: 0-based place in that answer.
        surface: where it happened.
        session_id: the visit.
        event_id: the sender's own id; sending it again changes nothing. Empty = none.
    """

    user_id: str
    item_id: str
    timestamp: float
    action: str = "click"
    value: float | None = None
    query: str = ""
    request_id: str = ""
    position: int | None = None
    surface: str = ""
    session_id: str = ""
    event_id: str = ""


Exclusion = Literal["nowhere", "seen", "recommendations", "everywhere"]
EXCLUSIONS: tuple[Exclusion, ...] = get_args(Exclusion)
"""How far an item is kept from a user who rejected it, from not at all to in every answer."""

_DISLIKED: Exclusion = "recommendations"

_NEGATIVE: Mapping[str, Exclusion] = MappingProxyType(
    {
        "hide": "everywhere",
        "report": "everywhere",
        "dislike": "recommendations",
        "unsubscribe": "recommendations",
        "return": "seen",
        "skip": "nowhere",
    }
)


class ActionRules(Config):
    """Which events show interest, which of these liking, and which are negative.

    A negative event is no interest. What it rejects is kept from its user until an event takes it
    back: a later like, purchase or higher rating does, a mere click does not.
    """

    ignore: tuple[str, ...] = ("impression",)
    """Actions that say nothing about taste; every other one is interest or negative."""

    negative: dict[str, Exclusion] = Field(default_factory=lambda: dict(_NEGATIVE))
    """Negative actions, whatever their value, and where the item is left out for this user:
    nowhere, on surfaces that leave out what was seen, in all recommendations, or everywhere, search
    included."""

    like_at_least: float = 4.0
    """An action with a value is a like from this value on."""

    dislike_at_most: float | None = None
    """An action with a value is a dislike up to this value; None = no value is one, for values that
    are no ratings. Actions of ``always_like`` never are: one piece bought is no bad rating."""

    always_like: tuple[str, ...] = Field(
        default=("like", "purchase", "apply", "save", "add_to_cart")
    )
    """Actions without a value that are likes."""

    strengths: dict[str, PositiveFloat] = Field(default_factory=dict)
    """How much an action counts where models learn to foretell what comes next, 1 where none is
    named: a purchase may be worth many views."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        both = sorted(set(self.negative) & set(self.always_like))
        if both:
            raise ValueError(f"{both[0]!r} is in negative and in always_like")
        if self.dislike_at_most is not None and self.dislike_at_most >= self.like_at_least:
            raise ValueError(
                f"dislike_at_most ({self.dislike_at_most:g}) must be below like_at_least "
                f"({self.like_at_least:g})"
            )
        return self

    def exclusion(self, action: str, value: float | None) -> Exclusion | None:
        """Where a negative event keeps its item from the user; None of any other event."""
        if action in self.ignore:
            return None
        if action in self.negative:
            return self.negative[action]
        if self.dislike_at_most is None or not _is_given(value) or action in self.always_like:
            return None
        return _DISLIKED if value <= self.dislike_at_most else None

    def rejects(self, action: str, value: float | None) -> bool:
        """True where the event keeps its item from the user somewhere."""
        return self.exclusion(action, value) not in (None, "nowhere")

    def is_interest(self, action: str, value: float | None) -> bool:
        """True where the event shows interest: models learn from it, reasons may name it."""
        return action not in self.ignore and self.exclusion(action, value) is None

    def is_like(self, action: str, value: float | None) -> bool:
        """True where the event shows liking and not just contact."""
        if not self.is_interest(action, value):
            return False
        return value >= self.like_at_least if _is_given(value) else action in self.always_like

    def takes_back(self, action: str, value: float | None) -> bool:
        """True where the event undoes earlier negative ones: a like, or a rating above dislikes."""
        is_rating = self.dislike_at_most is not None and _is_given(value)
        return self.is_like(action, value) or (is_rating and self.is_interest(action, value))


def _is_given(value: float | None) -> TypeGuard[float]:
    """False of no value and of NaN, which stands for none in columns."""
    return value is not None and value == value


_NAMES = ("user_id", "item_id", "timestamp", "action", "value")


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events in order of time; ties in order of arrival.

    Args:
        user_ids: E external ids.
        item_ids: E external ids; empty for a query without a click.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        actions: E kinds of interaction.
        values: (E,) float64, NaN where an event has none.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    timestamps: TimeArray
    actions: Sequence[str]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.user_ids)

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]]) -> Self:
        """From (user_id, item_id, timestamp, action, value) rows in order of time."""
        users, items, times, actions, values = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(
            users,
            items,
            np.array(times, dtype=np.float64),
            actions,
            np.array([np.nan if value is None else value for value in values], dtype=np.float64),
        )

    @classmethod
    def of_events(cls, events: Iterable[Event]) -> Self:
        """From events in any order."""
        ordered = sorted(events, key=lambda event: event.timestamp)
        return cls.of_rows([[getattr(event, name) for name in _NAMES] for event in ordered])

    def rows(self, rows: Sequence[int]) -> EventColumns:
        """Some of the events, by ascending row."""
        return EventColumns(
            [self.user_ids[row] for row in rows],
            [self.item_ids[row] for row in rows],
            self.timestamps[rows],
            [self.actions[row] for row in rows],
            self.values[rows],
        )
