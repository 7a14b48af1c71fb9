"""One event, and the rule that says which events count as likes."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, PositiveFloat

from serendip.config import Config


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


class ActionRules(Config):
    """Which events count as interactions and which as likes."""

    ignore: tuple[str, ...] = ("impression",)
    """Actions that say nothing about taste; every other one is an interaction."""

    like_at_least: float = 4.0
    """An action with a value is a like from this value on."""

    always_like: tuple[str, ...] = Field(
        default=("like", "purchase", "apply", "save", "add_to_cart")
    )
    """Actions without a value that are likes."""

    strengths: dict[str, PositiveFloat] = Field(default_factory=dict)
    """How much an action counts where models learn to foretell what comes next, 1 where none is
    named: a purchase may be worth many views."""

    def is_like(self, action: str, value: float | None) -> bool:
        """True where the event shows liking and not just contact."""
        if value is not None and value == value:
            return value >= self.like_at_least
        return action in self.always_like
