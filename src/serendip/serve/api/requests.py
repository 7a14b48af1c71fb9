"""Request models of the API: names, types and limits of parameters and bodies.

One model validates the parameters of a GET and the body of the POST with the same path, so both
accept the same names. Unknown names are errors. A body of events or items has one row or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError

from serendip.data import Event, Item
from serendip.data.items.attributes import Attribute as StoredAttribute
from serendip.data.limits import MAX_ATTRIBUTES, MAX_CLOCK_LEAD_S, MAX_POSITION
from serendip.data.users.user import User
from serendip.engine.request import Request
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.api.types import (
    Attribute,
    Count,
    Cursor,
    FacetNames,
    Filters,
    Flag,
    Id,
    Ids,
    LanguageTag,
    LongText,
    Number,
    OptionalId,
    Propensity,
    RequestModel,
    RowModel,
    Text,
    Time,
    read,
    to_data_error,
)


class PathId(RequestModel):
    """An id in a path."""

    id: Id
    """The id."""


def _parse_path_id(value: str) -> str:
    return read(PathId, {"id": value}).id


IdInPath = Annotated[str, PlainValidator(_parse_path_id, json_schema_input_type=Id)]
"""The id of an item or user in a path."""


class _WordedQuery(RequestModel):
    """A request whose answer has sentences for people."""

    language: LanguageTag = ""
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-Language``.
    English where there are no sentences in it."""

    def accepting(self, languages: str) -> Self:
        """The request with the header ``Accept-Language`` where it names no language itself."""
        self.language = self.language or languages
        return self


class _ItemsQuery(_WordedQuery):
    """Parameters of every request for items."""

    user_id: OptionalId = ""
    """The user; empty = unknown visitor."""

    k: Count = 10
    """Maximum number of items, 1 to 1,000."""

    cursor: Cursor = ""
    """``next`` of the previous page; empty = first page."""

    country: OptionalId = ""
    """Country of the request, spelled as in items and events; empty = that of the user."""

    device: OptionalId = ""
    """Kind of device, spelled as in the events; empty = unknown."""

    session_id: OptionalId = ""
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty = the
    events of the last half hour are."""

    reasons: Flag = True
    """Say why each item is shown."""

    parts: Flag = True
    """Tell the numbers that the score of each item was computed from; without them only those that
    its events carry: ``propensity`` and ``explored`` of an explored item."""

    filter: Filters = Field(default=[])
    """Tests of attributes, all of which an item passes: ``genres=Comedy|Drama``, ``brand!=Acme``,
    ``year>=1990``, ``year<=2010``. May be repeated."""

    facet: FacetNames = Field(default=[])
    """Attributes whose values are counted in the whole list. May be repeated."""

    sort: OptionalId = ""
    """Attribute whose numbers order the list, ``-price`` from the largest, or ``available_from``,
    ``-available_from`` from the newest; empty = by score."""

    def _build_request(self, surface: str, **fields: Any) -> Request:
        return Request(
            surface,
            user_id=self.user_id,
            k=self.k,
            cursor=self.cursor,
            country=self.country,
            device=self.device,
            session_id=self.session_id,
            reasons=self.reasons,
            parts=self.parts,
            language=self.language,
            filters=tuple(self.filter),
            facets=tuple(self.facet),
            sort=self.sort,
            **fields,
        )


class SearchQuery(_ItemsQuery):
    """A search."""

    q: Text = ""
    """The search text."""

    literal: Flag = False
    """Search the text exactly as typed, without corrections."""

    def build_request(self) -> Request:
        """Build the request to the engine."""
        return self._build_request("search", text=self.q, literal=self.literal)


class RecommendQuery(_ItemsQuery):
    """A request for recommendations."""

    surface: Id = "home"
    """The surface: a built-in name or one from the settings."""

    item_id: Ids = Field(default=[])
    """Context items: the current item or the cart. May be repeated."""

    q: Text = ""
    """The search text, for a surface that searches."""

    literal: Flag = False
    """Search the text exactly as typed, without corrections."""

    def build_request(self) -> Request:
        """Build the request to the engine."""
        return self._build_request(
            self.surface, item_ids=tuple(self.item_id), text=self.q, literal=self.literal
        )

    def require_context(self, needs: str) -> None:
        """Refuse a request without the input that its surface requires.

        Args:
            needs: the required input: ``query``, ``items`` or ``""`` for none.

        Raises:
            DataError: the item or the text is missing; the hint names it.
        """
        if needs == "query" and not self.q.strip() and not self.filter:
            raise DataError(
                f"q is missing: the surface {self.surface!r} needs what was typed.",
                "Add q=WORDS, or filter=NAME=VALUE for all items that pass it.",
            )
        if needs == "items" and not self.item_id:
            raise DataError(
                f"item_id is missing: the surface {self.surface!r} needs an item in context.",
                "Add item_id=ID; it may be repeated.",
            )


class SimilarQuery(_ItemsQuery):
    """A request for similar items."""

    def build_request(self, item_id: str) -> Request:
        """Build the request to the engine for the item in the path."""
        return self._build_request("similar", item_ids=(item_id,))


class SuggestQuery(_WordedQuery):
    """A request for query suggestions."""

    q: Text = ""
    """The text typed so far; blank = suggest what to search next."""

    user_id: OptionalId = ""
    """The user; empty = unknown visitor."""

    after: Text = ""
    """The query of the current results page; used if ``q`` is blank."""

    k: Count = 8
    """Maximum number of suggestions."""

    filter: Filters = Field(default=[])
    """Tests of attributes, as of a request for items: every suggestion finds an item that passes
    all. May be repeated."""

    def build_request(self) -> Request:
        """Build the request to the engine."""
        return Request(
            user_id=self.user_id,
            text=self.q,
            k=self.k,
            after=self.after,
            language=self.language,
            filters=tuple(self.filter),
        )


class ExplainQuery(_WordedQuery):
    """A request to explain why an item would be shown."""

    item_id: Id
    """The item to explain."""

    surface: Id = "home"
    """The surface that would show it."""

    k: Count = 10
    """Number of items shown; one that is further down is absent."""

    user_id: OptionalId = ""
    """The user; empty = unknown visitor."""

    q: Text = ""
    """The search text, for a surface that searches."""

    literal: Flag = False
    """Search the text exactly as typed, without corrections."""

    source_item_id: Ids = Field(default=[])
    """Context items. May be repeated."""

    country: OptionalId = ""
    """Country of the request, spelled as in items and events; empty = that of the user."""

    device: OptionalId = ""
    """Kind of device, spelled as in the events; empty = unknown."""

    session_id: OptionalId = ""
    """The visit, as its events carry it; empty = it is told by time."""

    filter: Filters = Field(default=[])
    """Tests of attributes, as in the request that is explained. May be repeated."""

    sort: OptionalId = ""
    """Order of the list, as in the request that is explained."""

    def build_request(self) -> Request:
        """Build the request to the engine whose answer may contain the item."""
        return Request(
            self.surface,
            user_id=self.user_id,
            text=self.q,
            item_ids=tuple(self.source_item_id),
            country=self.country,
            device=self.device,
            session_id=self.session_id,
            literal=self.literal,
            k=self.k,
            language=self.language,
            filters=tuple(self.filter),
            sort=self.sort,
        )


class UsersQuery(RequestModel):
    """Limit on listed users or events."""

    limit: Count = 50
    """Maximum number of rows."""


class EventIn(RowModel):
    """An interaction or impression of a user."""

    user_id: Id
    """The user."""

    item_id: OptionalId = ""
    """The item; may be empty if there is a query."""

    timestamp: Time | None = None
    """Unix seconds, or ISO 8601 (UTC without an offset); defaults to the time of arrival."""

    action: Id = "click"
    """Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``, ``impression``."""

    value: Number | None = None
    """Strength, such as stars."""

    query: Text = ""
    """The search text before it."""

    request_id: OptionalId = ""
    """The answer that led to it."""

    position: Annotated[int, Field(ge=0, le=MAX_POSITION)] | None = None
    """0-based position in that answer."""

    surface: OptionalId = ""
    """The surface where it happened: one from the settings, or ``suggest``."""

    session_id: OptionalId = ""
    """The visit."""

    event_id: OptionalId = ""
    """The sender's id of the event; an event with a stored id is not stored again."""

    country: OptionalId = ""
    """Where the user was."""

    device: OptionalId = ""
    """Kind of device, such as ``phone``."""

    propensity: Propensity | None = None
    """Probability with which it was drawn for its position: ``parts.propensity`` of an explored
    item, ``propensity`` of a suggested query."""

    def to_event(self, now: float) -> Event:
        """Convert to an event.

        Args:
            now: the server's time in Unix seconds.

        No event happens later than it is told: one of a clock that is ahead has the time ``now``.

        Raises:
            DataError: neither item nor query is given, or it is over a day later than ``now``.
        """
        if not self.item_id and not self.query:
            raise DataError("an event has neither item_id nor query.", "Send one of them.")
        timestamp = now if self.timestamp is None else self.timestamp
        if timestamp > now + MAX_CLOCK_LEAD_S:
            raise DataError(
                f"timestamp = {timestamp:.0f} lies in the future.",
                "Send Unix seconds in UTC, not milliseconds.",
            )
        return Event(
            self.user_id,
            self.item_id,
            min(timestamp, now),
            self.action,
            self.value,
            self.query,
            self.request_id,
            self.position,
            self.surface,
            self.session_id,
            self.event_id,
            self.country,
            self.device,
            self.propensity,
        )


class UserIn(RequestModel):
    """What is known of a user; replaces all that was stored."""

    attributes: Annotated[dict[Id, Attribute], Field(max_length=MAX_ATTRIBUTES)] = Field(default={})
    """Text, numbers or lists of texts. ``country`` is a text: where requests come from that name
    no country."""

    def to_user(self, user_id: str) -> User:
        """Convert to a user with the id in the path."""
        return User(user_id, _to_attributes(self.attributes))


class ItemIn(RowModel):
    """An item of the catalogue; replaces a stored item with the same id."""

    item_id: Id
    """Its id."""

    title: LongText = ""
    """The displayed title."""

    description: LongText = ""
    """Longer text."""

    attributes: Annotated[dict[Id, Attribute], Field(max_length=MAX_ATTRIBUTES)] = Field(default={})
    """Further columns: text, numbers or lists of texts."""

    available_from: Time | None = None
    """Unix seconds or ISO 8601 from which it may be shown; omitted = always."""

    def to_item(self) -> Item:
        """Convert to an item."""
        attributes = _to_attributes(self.attributes)
        return Item(self.item_id, self.title, self.description, attributes, self.available_from)


def _to_attributes(values: Mapping[str, Attribute]) -> dict[str, StoredAttribute]:
    """Attributes as items and users have them."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


class EventBatch(RowModel):
    """A body with events."""

    events: Annotated[list[EventIn], Field(max_length=limits.MAX_BATCH)]
    """The rows; all are stored or none."""


class ItemBatch(RowModel):
    """A body with items."""

    items: Annotated[list[ItemIn], Field(max_length=limits.MAX_BATCH)]
    """The rows; all are stored or none."""


_EVENTS: TypeAdapter[list[EventIn]] = TypeAdapter(list[EventIn])
_ITEMS: TypeAdapter[list[ItemIn]] = TypeAdapter(list[ItemIn])


def _parse_events(body: Any) -> list[EventIn]:
    rows = _unwrap_rows(body, "events")
    try:
        return _EVENTS.validate_python(rows)
    except ValidationError as error:
        raise to_data_error(error, EventIn, "events") from None


def _parse_items(body: Any) -> list[ItemIn]:
    rows = _unwrap_rows(body, "items")
    try:
        return _ITEMS.validate_python(rows)
    except ValidationError as error:
        raise to_data_error(error, ItemIn, "items") from None


def _unwrap_rows(body: Any, name: str) -> list[Any]:
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
    PlainValidator(_parse_events, json_schema_input_type=EventIn | list[EventIn] | EventBatch),
]
"""One event, a list of them, or ``{"events": [...]}``; one invalid event rejects all."""

ItemRows = Annotated[
    list[ItemIn],
    PlainValidator(_parse_items, json_schema_input_type=ItemIn | list[ItemIn] | ItemBatch),
]
"""One item, a list of them, or ``{"items": [...]}``; one invalid item rejects all."""
