"""Events and items as they come in, one or many in a body."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from serendip.data import Event, Item
from serendip.data.limits import MAX_ATTRIBUTES, MAX_POSITION
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.fields import (
    Attribute,
    Id,
    LongText,
    Number,
    OptionalId,
    Text,
    Time,
    Wire,
    complaint,
)


class EventIn(Wire):
    """Something a user did, or was shown."""

    user_id: Id
    """Who."""

    item_id: OptionalId = ""
    """With which item; may be empty where there is a query."""

    timestamp: Time | None = None
    """Unix seconds; the time of arrival where it is left out."""

    action: Id = "click"
    """What was done: ``click``, ``like``, ``rate``, ``purchase``, ``impression``."""

    value: Number | None = None
    """Strength, such as stars."""

    query: Text = ""
    """What was typed before."""

    request_id: OptionalId = ""
    """The answer that led to it."""

    position: Annotated[int, Field(ge=0, le=MAX_POSITION)] | None = None
    """0-based place in that answer."""

    surface: OptionalId = ""
    """Where it happened: a surface of the settings, or ``suggest``."""

    session_id: OptionalId = ""
    """The visit."""

    event_id: OptionalId = ""
    """The sender's own id: sending it again changes nothing."""

    def event(self, now: float) -> Event:
        """The event itself; ``now`` is the server's time in Unix seconds.

        Raises:
            DataError: it has neither item nor query, or lies more than a day ahead of ``now``.
        """
        if not self.item_id and not self.query:
            raise DataError("an event has neither item_id nor query.", "Send one of them.")
        timestamp = now if self.timestamp is None else self.timestamp
        if timestamp > now + limits.MAX_CLOCK_LEAD_S:
            raise DataError(
                f"timestamp = {timestamp:.0f} lies in the future.",
                "Send Unix seconds in UTC, not milliseconds.",
            )
        return Event(
            self.user_id,
            self.item_id,
            timestamp,
            self.action,
            self.value,
            self.query,
            self.request_id,
            self.position,
            self.surface,
            self.session_id,
            self.event_id,
        )


class ItemIn(Wire):
    """An item of the catalogue; one that is known is replaced."""

    item_id: Id
    """Its id."""

    title: LongText = ""
    """As shown."""

    description: LongText = ""
    """Longer text."""

    attributes: Annotated[dict[Id, Attribute], Field(max_length=MAX_ATTRIBUTES)] = Field(default={})
    """Further columns: text, numbers or lists of words."""

    available_from: Time | None = None
    """Unix seconds from which it may be shown; always where it is left out."""

    def item(self) -> Item:
        """The item itself."""
        attributes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.attributes.items()
        }
        return Item(self.item_id, self.title, self.description, attributes, self.available_from)


_EVENTS: TypeAdapter[list[EventIn]] = TypeAdapter(list[EventIn])
_ITEMS: TypeAdapter[list[ItemIn]] = TypeAdapter(list[ItemIn])


def read_events(body: Any, now: float) -> list[Event]:
    """One event, a list of them, or ``{"events": [...]}``.

    Raises:
        DataError: one is wrong (then none is taken) or there are more than 10,000.
    """
    rows = _rows(body, "events")
    try:
        return [row.event(now) for row in _EVENTS.validate_python(rows)]
    except ValidationError as error:
        raise complaint(error, EventIn, "events") from None


def read_items(body: Any) -> list[Item]:
    """One item, a list of them, or ``{"items": [...]}``.

    Raises:
        DataError: one is wrong (then none is taken) or there are more than 10,000.
    """
    rows = _rows(body, "items")
    try:
        return [row.item() for row in _ITEMS.validate_python(rows)]
    except ValidationError as error:
        raise complaint(error, ItemIn, "items") from None


def _rows(body: Any, name: str) -> list[Any]:
    if isinstance(body, dict) and name in body:
        if len(body) > 1:
            other = next(key for key in body if key != name)
            raise DataError(f"{other[:80]} is not known beside {name}.", f"Send only {name}.")
        body = body[name]
    rows = body if isinstance(body, list) else [body]
    if len(rows) > limits.MAX_BATCH:
        raise DataError(
            f"{len(rows)} {name} in one body are too many.",
            f"Send at most {limits.MAX_BATCH} at once.",
        )
    return rows
