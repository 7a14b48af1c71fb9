"""Request models of the API: names, types and limits of parameters and bodies.

One model reads the parameters of a GET and the body of the POST with the same path, so both accept
exactly the same names. Unknown names are errors. A body of events or items holds one or many.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError

from serendip.data import Event, Item
from serendip.data.limits import MAX_ATTRIBUTES, MAX_POSITION
from serendip.engine.request import Request
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.api.types import (
    Attribute,
    Count,
    Cursor,
    Flag,
    Id,
    Ids,
    LongText,
    Number,
    OptionalId,
    RequestModel,
    RowModel,
    Text,
    Time,
    read,
    to_data_error,
)


class PathId(RequestModel):
    """An id that is part of a path."""

    id: Id
    """The id."""


def _read_path_id(value: str) -> str:
    return read(PathId, {"id": value}).id


IdInPath = Annotated[str, PlainValidator(_read_path_id, json_schema_input_type=Id)]
"""The id of an item or user in a path."""


class _Page(RequestModel):
    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    k: Count = 10
    """How many items, 1 to 1,000."""

    cursor: Cursor = ""
    """``next`` of the answer before."""

    country: OptionalId = ""
    """Where the request comes from, in the words of the items; empty = unknown."""

    def _request(self, surface: str, **fields: Any) -> Request:
        return Request(
            surface,
            user_id=self.user_id,
            k=self.k,
            cursor=self.cursor,
            country=self.country,
            **fields,
        )


class SearchQuery(_Page):
    """A search."""

    q: Text = ""
    """What was typed."""

    literal: Flag = False
    """Search it as it was typed, whatever may have been meant."""

    def request(self) -> Request:
        """The request to the engine."""
        return self._request("search", text=self.q, literal=self.literal)


class RecommendQuery(_Page):
    """A request for recommendations."""

    surface: Id = "home"
    """Where the answer will be shown: a built-in name or one of the settings."""

    item_id: Ids = Field(default=[])
    """Items in context: the one looked at, the cart. May be repeated."""

    q: Text = ""
    """What was typed, for a surface that searches."""

    literal: Flag = False
    """Search it as it was typed, whatever may have been meant."""

    def request(self) -> Request:
        """The request to the engine."""
        return self._request(
            self.surface, item_ids=tuple(self.item_id), text=self.q, literal=self.literal
        )

    def require_context(self, needs: str) -> None:
        """Refuse a request without what its surface is about.

        Args:
            needs: what the engine says of the surface: ``query``, ``items`` or nothing.

        Raises:
            DataError: the item or the text is missing; the hint names it.
        """
        if needs == "query" and not self.q.strip():
            raise DataError(
                f"q is missing: the surface {self.surface!r} needs what was typed.",
                "Add q=WORDS, or ask /v1/search.",
            )
        if needs == "items" and not self.item_id:
            raise DataError(
                f"item_id is missing: the surface {self.surface!r} needs an item in context.",
                "Add item_id=ID; it may be repeated.",
            )


class SimilarQuery(_Page):
    """A request for items like one item."""

    def request(self, item_id: str) -> Request:
        """The request to the engine, for the item of the path."""
        return self._request("similar", item_ids=(item_id,))


class SuggestQuery(RequestModel):
    """A request for query suggestions."""

    q: Text = ""
    """What was typed so far; blank asks for what to search next."""

    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    after: Text = ""
    """What was searched on the page that they are for, where nothing is typed."""

    k: Count = 8
    """How many suggestions."""

    def request(self) -> Request:
        """The request to the engine."""
        return Request(user_id=self.user_id, text=self.q, k=self.k, after=self.after)


class ExplainQuery(RequestModel):
    """A question why an item would be shown."""

    item_id: Id
    """The item to explain."""

    surface: Id = "home"
    """Where it would be shown."""

    user_id: OptionalId = ""
    """To whom; empty for an unknown visitor."""

    q: Text = ""
    """What was typed, for a surface that searches."""

    literal: Flag = False
    """Whether it was searched as it was typed."""

    source_item_id: Ids = Field(default=[])
    """Items in context. May be repeated."""

    country: OptionalId = ""
    """Where the request would come from."""

    def request(self) -> Request:
        """The request to the engine whose answer the item may be in."""
        return Request(
            self.surface,
            user_id=self.user_id,
            text=self.q,
            item_ids=tuple(self.source_item_id),
            country=self.country,
            literal=self.literal,
        )


class UsersQuery(RequestModel):
    """How many known users or events to list."""

    limit: Count = 50
    """At most this many."""


class EventIn(RowModel):
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


class ItemIn(RowModel):
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


class EventBatch(RowModel):
    """Events of one body."""

    events: Annotated[list[EventIn], Field(max_length=limits.MAX_BATCH)]
    """All are stored, or none."""


class ItemBatch(RowModel):
    """Items of one body."""

    items: Annotated[list[ItemIn], Field(max_length=limits.MAX_BATCH)]
    """All are stored, or none."""


_EVENTS: TypeAdapter[list[EventIn]] = TypeAdapter(list[EventIn])
_ITEMS: TypeAdapter[list[ItemIn]] = TypeAdapter(list[ItemIn])


def _read_events(body: Any) -> list[EventIn]:
    rows = _rows(body, "events")
    try:
        return _EVENTS.validate_python(rows)
    except ValidationError as error:
        raise to_data_error(error, EventIn, "events") from None


def _read_items(body: Any) -> list[ItemIn]:
    rows = _rows(body, "items")
    try:
        return _ITEMS.validate_python(rows)
    except ValidationError as error:
        raise to_data_error(error, ItemIn, "items") from None


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


EventRows = Annotated[
    list[EventIn],
    PlainValidator(_read_events, json_schema_input_type=EventIn | list[EventIn] | EventBatch),
]
"""One event, a list of them, or ``{"events": [...]}``; none is taken if one is wrong."""

ItemRows = Annotated[
    list[ItemIn],
    PlainValidator(_read_items, json_schema_input_type=ItemIn | list[ItemIn] | ItemBatch),
]
"""One item, a list of them, or ``{"items": [...]}``; none is taken if one is wrong."""
