"""Events with their columns, and action rules: which are interest, likes or negative feedback."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeGuard, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from serendip.config import Config
from serendip.data.arrays import TimeArray
from serendip.data.limits import EARLIEST, LATEST, MAX_POSITION
from serendip.data.moment import Moment

MERGED = "merged-"
"""Begin of the ``request_id`` of what a visitor did, stored for the user of a login, too."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Texts; ``""`` where an event has none.

    Args:
        is_id: whether they have the limits of an id; else those of a search text.
        repeats: whether many events have the same: a pack has each once, and codes of them.
    """

    is_id: bool = True
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Finite numbers; None where an event has none.

    Args:
        meaning: what a valid one is, for messages.
        bounds: of valid ones: ``ge``, ``gt``, ``le`` or ``lt`` -> number.
        dtype: of numpy and Arrow.
    """

    meaning: str = "a finite number"
    bounds: Mapping[str, Any] = field(default_factory=dict)
    dtype: Literal["float64", "int32"] = "float64"

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest valid number."""
        above, below = self.bounds.get("gt", -math.inf), self.bounds.get("lt", math.inf)
        least = self.bounds.get("ge", math.nextafter(above, math.inf))
        return least, self.bounds.get("le", math.nextafter(below, -math.inf))


Name: TypeAlias = Annotated[str, TextColumn()]
RareName: TypeAlias = Annotated[str, TextColumn(repeats=False)]
OptionalNumber: TypeAlias = Annotated[float | None, NumberColumn()]
_POSITION = NumberColumn(
    f"a whole number from 0 to {MAX_POSITION}", {"ge": 0, "le": MAX_POSITION}, "int32"
)


@dataclass(frozen=True, slots=True)
class Event:
    """An interaction of a user with an item, or an impression.

    Each field is declared here once: its type is its column in the store, in files and in the
    API. It is optional if its default is ``""`` or None.

    Args:
        user_id: the user.
        item_id: the item; empty for a query without a click.
        timestamp: Unix seconds, UTC.
        action: kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``;
            ``impression`` = shown.
        value: strength, such as stars.
        query: the search text that led to it.
        request_id: the answer that led to it; joins clicks with impressions.
        position: 0-based position in that answer.
        surface: where it happened: one from the settings, or ``suggest``.
        session_id: the visit.
        event_id: the sender's id of the event; one with a stored id is not stored again.
        country: where the user was; empty = not known.
        device: kind of device, such as ``phone``; empty = not known.
        propensity: probability with which its item or query was drawn for its position, in (0, 1]:
            ``parts.propensity`` of an item that has it, ``propensity`` of a suggested query.
    """

    user_id: Name
    item_id: Name
    timestamp: Annotated[Moment, NumberColumn("a time", {"ge": EARLIEST, "le": LATEST})]
    action: Name = "click"
    value: OptionalNumber = None
    query: Annotated[str, TextColumn(is_id=False, repeats=False)] = ""
    request_id: RareName = ""
    position: Annotated[int | None, _POSITION] = None
    surface: Name = ""
    session_id: RareName = ""
    event_id: RareName = ""
    country: Name = ""
    device: Name = ""
    propensity: Annotated[
        float | None, NumberColumn("a probability above 0", {"gt": 0, "le": 1})
    ] = None


EVENT_COLUMNS: Mapping[str, TextColumn | NumberColumn] = {
    name: kind.__metadata__[-1] for name, kind in get_type_hints(Event, include_extras=True).items()
}
EVENT_REQUIRED = {one.name for one in fields(Event) if one.default not in ("", None)}
EVENT_TEXTS = {name: one for name, one in EVENT_COLUMNS.items() if isinstance(one, TextColumn)}
EVENT_NUMBERS = {name: one for name, one in EVENT_COLUMNS.items() if isinstance(one, NumberColumn)}

NO_SESSION = 0


def session_code(session_id: str) -> int:
    """Number of a session, the same in every process: 63 bits of a hash of its id; 0 = none."""
    if not session_id:
        return NO_SESSION
    digest = hashlib.blake2b(session_id.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 1) or 1


Exclusion = Literal["nowhere", "seen", "recommendations", "everywhere"]
EXCLUSIONS: tuple[Exclusion, ...] = get_args(Exclusion)  # in ascending order of reach
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
    """Classifies events by action and value: interest, like or negative feedback.

    A negative event is not interest. It excludes its item for the user until a later event revokes
    it: a like, a purchase or a higher rating does, a mere click does not.
    """

    ignore: tuple[str, ...] = ("impression",)
    """Actions without information on taste; every other one is interest or negative."""

    negative: dict[str, Exclusion] = Field(default_factory=lambda: dict(_NEGATIVE))
    """Negative actions, whatever their value, and where the item is excluded for this user:
    nowhere, on surfaces that exclude seen items, in all recommendations, or everywhere including
    search."""

    like_at_least: float = 4.0
    """Smallest value that makes an action with a value a like."""

    dislike_at_most: float | None = None
    """Largest value that makes an action with a value a dislike; None = never, for values that are
    not ratings. Never applies to actions of ``always_like``: buying one piece is not a bad
    rating."""

    always_like: tuple[str, ...] = Field(
        default=("like", "purchase", "apply", "save", "add_to_cart")
    )
    """Actions without a value that are likes."""

    strengths: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Weight of an action in what the retriever, transitions, item-kNN and EASE learn, 1 by
    default: a purchase may be worth many views."""

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
        """Where a negative event excludes its item for the user; None for any other event."""
        if action in self.ignore:
            return None
        if action in self.negative:
            return self.negative[action]
        if self.dislike_at_most is None or not _is_given(value) or action in self.always_like:
            return None
        return _DISLIKED if value <= self.dislike_at_most else None

    def rejects(self, action: str, value: float | None) -> bool:
        """True if the event excludes its item for the user anywhere."""
        return self.exclusion(action, value) not in (None, "nowhere")

    def is_interest(self, action: str, value: float | None) -> bool:
        """True if the event shows interest: models learn from it, explanations may name it."""
        return action not in self.ignore and self.exclusion(action, value) is None

    def is_like(self, action: str, value: float | None) -> bool:
        """True if the event is a like, not just contact with the item."""
        if not self.is_interest(action, value):
            return False
        return value >= self.like_at_least if _is_given(value) else action in self.always_like

    def takes_back(self, action: str, value: float | None) -> bool:
        """True if the event revokes earlier negative ones: a like, or a rating above dislikes."""
        is_rating = self.dislike_at_most is not None and _is_given(value)
        return self.is_like(action, value) or (is_rating and self.is_interest(action, value))


def _is_given(value: float | None) -> TypeGuard[float]:
    return value is not None and value == value  # NaN is the missing value in columns


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events in order of time; ties in order of arrival.

    Args:
        user_ids: E external ids.
        item_ids: E external ids; empty for a query without a click.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        actions: E kinds of interaction.
        values: (E,) float64, NaN where an event has none.
        countries: E countries; empty = not known.
        sessions: (E,) int64 ``session_code``.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    timestamps: TimeArray
    actions: Sequence[str]
    values: NDArray[np.float64]
    countries: Sequence[str]
    sessions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_ids)

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]]) -> Self:
        """Build from rows in order of time.

        They have user, item, timestamp, action, value, country, ``session_code``, and others.
        """
        users, items, times, actions, values, countries, sessions, *_ = (
            zip(*rows, strict=True) if rows else ((),) * 7
        )
        moments, strengths = np.array(times, np.float64), np.array(values, np.float64)
        codes = np.array(sessions, np.int64)
        return cls(users, items, moments, actions, strengths, countries, codes)
