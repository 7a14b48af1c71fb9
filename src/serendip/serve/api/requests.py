"""Request models of the API: names, types and limits of parameters and bodies.

One model validates the parameters of a GET and the body of the POST with the same path, so both
accept the same names, those of the engine's ``Request``. Unknown names are errors. A body of events
or items has one row or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, FiniteFloat, TypeAdapter, create_model

from serendip.data import Event, Item
from serendip.data.events.event import EVENT_COLUMNS, EVENT_REQUIRED, NumberColumn
from serendip.data.items.attributes import Attribute
from serendip.data.limits import MAX_CLOCK_LEAD_S
from serendip.data.rules import Rule, RuleAction
from serendip.data.users.user import User
from serendip.engine.request import Request
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.api import types

_FIELDS = {field.name for field in fields(Request)}


class ReadParams(types.RequestModel):
    """Parameters of all reads: who asks, in which language, for which items."""

    language: types.LanguageTag = ""
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-Language``.
    English where there are no sentences in it."""

    user_id: types.OptionalId = ""
    """The user; empty = unknown visitor."""

    filters: types.Filters = Field(default=(), alias="filter")
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``. May be
    repeated."""

    def build_request(self, **more: Any) -> Request:
        """Build the request to the engine, with further fields."""
        return Request(**{name: value for name, value in self if name in _FIELDS} | more)


class _ListParams(ReadParams):
    """Parameters that decide what is in a list of items."""

    k: types.Count = Field(default=10, alias="limit")
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""

    country: types.OptionalId = ""
    """Country of the request, spelled as in items and events; empty = that of the user."""

    device: types.OptionalId = ""
    """Kind of device, spelled as in the events; empty = unknown."""

    items: types.Ids = ()
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""

    session_id: types.OptionalId = ""
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty = the
    events of the last half hour are."""

    sort: types.OptionalId = ""
    """Attribute whose numbers order the list, ``-price`` from the largest, or ``available_from``,
    ``-available_from`` from the newest; empty = by score."""


class SimilarParams(_ListParams):
    """A request for similar items."""

    cursor: types.Cursor = ""
    """That of the previous page; empty = first page. A long one is sent in the body of a POST."""

    fields: types.FieldNames = ()
    """Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
    may be among them. Empty = those of ``[page] fields``."""

    reasons: types.Flag = True
    """Say why each item is shown."""

    parts: types.Flag = False
    """Tell the numbers that the score of each item was computed from; without them only those that
    its events carry: ``propensity`` and ``explored`` of an explored item."""

    facets: types.FacetNames = Field(default=(), alias="facet")
    """Attributes whose values are counted in the whole list. May be repeated."""


class SearchParams(SimilarParams):
    """A search."""

    text: types.Text = Field(default="", alias="q")
    """The search text."""

    literal: types.Flag = False
    """Search the text exactly as typed, without corrections."""


class RecommendParams(SearchParams):
    """A request for recommendations."""

    surface: types.Id = "home"
    """The surface: a built-in name or one from the settings."""

    item_ids: types.Ids = Field(default=(), alias="item_id")
    """Context items: the current item or the cart. May be repeated."""

    def require_context(self, needs: str) -> None:
        """Refuse a request without the input that its surface requires.

        Args:
            needs: the required input: ``query``, ``items`` or ``""`` for none.

        Raises:
            DataError: the item or the text is missing; the hint names it.
        """
        if needs == "query" and not self.text.strip() and not self.filters:
            raise DataError(
                f"q is missing: the surface {self.surface!r} needs what was typed.",
                "Add q=WORDS, or filter=NAME=VALUE for all items that pass it.",
            )
        if needs == "items" and not self.item_ids:
            raise DataError(
                f"item_id is missing: the surface {self.surface!r} needs an item in context.",
                "Add item_id=ID; it may be repeated.",
            )


class SuggestParams(ReadParams):
    """A request for query suggestions."""

    text: types.Text = Field(default="", alias="q")
    """The text typed so far; blank = suggest what to search next."""

    after: types.Text = ""
    """The query of the current results page; used if ``q`` is blank."""

    k: types.Count = Field(default=8, alias="limit")
    """Maximum number of suggestions."""


class ExplainParams(_ListParams):
    """A request to explain why an item would be shown."""

    item_id: types.Id
    """The item to explain."""

    surface: types.Id = "home"
    """The surface that would show it."""

    text: types.Text = Field(default="", alias="q")
    """The search text, for a surface that searches."""

    literal: types.Flag = False
    """Search the text exactly as typed, without corrections."""

    item_ids: types.Ids = Field(default=(), alias="source_item_id")
    """Context items. May be repeated."""


class UsersParams(types.RequestModel):
    """Limit on listed users or events."""

    limit: types.Count = 50
    """Maximum number of rows."""


class FiguresParams(types.RequestModel):
    """Which figures are asked for."""

    days: types.Count = 7
    """They are of the last so many days."""

    limit: types.Count = 50
    """Maximum number of surfaces, of queries and of items, the most frequent first."""


class ItemsParams(UsersParams):
    """A part of the catalogue."""

    cursor: types.Cursor = ""
    """That of the previous part; empty = first part."""


class ItemIds(types.RequestModel):
    """Items to read."""

    item_ids: types.BatchIds
    """Their ids, at most 1,000."""


class UserIds(types.RequestModel):
    """Users to read."""

    user_ids: types.BatchIds
    """Their ids, at most 1,000."""


class _EventRow(types.RowModel):
    """An interaction or impression of a user."""

    user_id: types.Id
    """The user."""

    item_id: types.OptionalId = ""
    """The item; may be empty if there is a query."""

    timestamp: types.Time | None = None
    """Unix seconds, or ISO 8601 (UTC without an offset); defaults to the time of arrival."""

    def to_event(self, now: float) -> Event:
        """Convert to an event, which does not happen later than it is told: ``now`` at most.

        Args:
            now: the server's time in Unix seconds.

        Raises:
            DataError: neither item nor query is given, or it is over a day later than ``now``.
        """
        timestamp = now if self.timestamp is None else self.timestamp
        event = Event(**dict(self) | {"timestamp": min(timestamp, now)})
        if not event.item_id and not event.query:
            raise DataError("an event has neither item_id nor query.", "Send one of them.")
        if timestamp > now + MAX_CLOCK_LEAD_S:
            raise DataError(
                f"timestamp = {timestamp:.0f} lies in the future.",
                "Send Unix seconds in UTC, not milliseconds.",
            )
        return event


def _event_fields() -> dict[str, Any]:
    """The other fields of an ``Event``, as the API takes them."""
    found, (_, meanings) = dict[str, Any](), types.read_docstring(Event)
    for field in fields(Event):
        column = EVENT_COLUMNS[field.name]
        kind: Any = types.Id if field.name in EVENT_REQUIRED else types.OptionalId
        if isinstance(column, NumberColumn):
            number = int if column.dtype == "int32" else FiniteFloat
            kind = Annotated[number, Field(**column.bounds)] | None
        elif not column.is_id:
            kind = types.Text
        found[field.name] = kind, Field(field.default, description=meanings[field.name])
    return {name: one for name, one in found.items() if name not in _EventRow.model_fields}


if TYPE_CHECKING:
    EventIn = _EventRow
else:
    EventIn = create_model("EventIn", __base__=_EventRow, **_event_fields())
    EventIn.__doc__ = _EventRow.__doc__


class UserIn(types.RequestModel):
    """What is known of a user; replaces all that was stored."""

    attributes: types.Attributes = Field(default={})
    """Text, numbers or lists of texts. ``country`` is a text: where requests come from that name
    no country."""

    def to_user(self, user_id: str) -> User:
        """Convert to a user with the id in the path."""
        return User(user_id, self.attributes)


class UserRow(types.RowModel):
    """A user; replaces all that was stored of them."""

    user_id: types.Id
    """Their id."""

    attributes: types.Attributes = Field(default={})
    """As those of one user."""


class ItemIn(types.RowModel):
    """An item of the catalogue; replaces a stored item with the same id."""

    item_id: types.Id
    """Its id."""

    title: types.LongText = ""
    """The displayed title."""

    description: types.LongText = ""
    """Longer text."""

    attributes: types.Attributes = Field(default={})
    """Further columns: text, numbers or lists of texts."""

    available_from: types.Time | None = None
    """Unix seconds or ISO 8601 from which it may be shown; omitted = always."""

    def to_item(self) -> Item:
        """Convert to an item."""
        return Item(**dict(self))


class Login(types.RequestModel):
    """The login of a visitor."""

    visitor_id: types.Id
    """The id by which the visitor's events were sent."""


class ItemPatch(types.RequestModel):
    """Changes of an item; what is not named stays."""

    title: types.LongText = ""
    """The displayed title."""

    description: types.LongText = ""
    """Longer text."""

    attributes: types.AttributeChanges = Field(default={})
    """Attributes to set; null removes one, and others stay."""

    available_from: types.Time | None = None
    """Unix seconds or ISO 8601 from which it may be shown; null = always."""

    def apply(self, item: Item) -> Item:
        """The changed item."""
        changes = {name: getattr(self, name) for name in self.model_fields_set}
        if "attributes" in changes:
            changes["attributes"] = _merge(item.attributes, self.attributes)
        return replace(item, **changes)


class UserPatch(types.RequestModel):
    """Changes of a user; what is not named stays."""

    attributes: types.AttributeChanges = Field(default={})
    """Attributes to set; null removes one, and others stay."""

    def apply(self, user: User) -> User:
        """The changed user."""
        return replace(user, attributes=_merge(user.attributes, self.attributes))


def _merge(
    stored: Mapping[str, Attribute], changes: Mapping[str, Attribute | None]
) -> dict[str, Attribute]:
    merged = {**stored, **changes}
    return {name: value for name, value in merged.items() if value is not None}


class _RuleFields(types.RowModel):
    action: RuleAction
    """``pin``, ``boost``, ``bury``, ``hide``, ``redirect`` or ``banner``."""

    surfaces: types.Texts = ()
    """Names of surfaces; empty = all."""

    queries: types.Texts = ()
    """Texts, compared without case, accents and signs with what was typed."""

    category: types.Text = ""
    """An attribute and its values by which the request filters, such as ``genres=Comedy``."""

    segment: types.Text = ""
    """A text attribute of the user and its values, such as ``country=KR``."""

    begins: types.Time | None = None
    """Unix seconds or ISO 8601 from which it counts; omitted = at once."""

    ends: types.Time | None = None
    """Unix seconds or ISO 8601 from which it no longer counts; omitted = never."""

    items: types.Texts = ()
    """Ids of the items, in the order in which a pin shows them."""

    where: types.Text = ""
    """A test of an attribute that items pass, in place of their ids: ``brand=Acme``."""

    value: FiniteFloat | types.Text | None = None
    """Of a pin the position of its first item, from 1; of ``boost`` and ``bury`` the factor, 1.1 to
    10, omitted = 2; of ``redirect`` an address or a path; of ``banner`` a text."""

    def to_rule(self, **more: str) -> Rule:
        """Convert to a rule, with the id in the path if it has none."""
        return Rule(**dict(self) | more)


class RuleIn(_RuleFields, types.RequestModel):
    """A rule; replaces the stored one with the same id. Conditions that are left out hold."""


class RuleRow(_RuleFields):
    """A rule of a file or a list."""

    rule_id: types.Id
    """Its id."""


class RuleFile(types.RequestModel):
    """The rules of a file."""

    row: ClassVar[type[types.RowModel]] = RuleRow
    rules: list[RuleRow]
    """The rules."""


def read_rules(document: Any) -> list[Rule]:
    """The rules of a file of tables ``[[rules]]``; what is wrong is a ``DataError``."""
    found = types.read(TypeAdapter(RuleFile), document)
    return [row.to_rule() for row in found.rules]


class PreviewParams(RecommendParams):
    """A request, and rules to try with it."""

    rules: Annotated[list[RuleRow], Field(max_length=limits.MAX_BATCH)] = Field(default=[])
    """The rules, whose times are not read; without any those in force are compared with none."""


class EventBatch(types.RequestModel):
    """A body with events."""

    row: ClassVar[type[types.RowModel]] = EventIn
    events: Annotated[list[EventIn], Field(max_length=limits.MAX_BATCH, fail_fast=True)]
    """The rows; all are stored or none."""


class ItemBatch(types.RequestModel):
    """A body with items."""

    row: ClassVar[type[types.RowModel]] = ItemIn
    items: Annotated[list[ItemIn], Field(max_length=limits.MAX_BATCH, fail_fast=True)]
    """The rows; all are stored or none."""


class UserBatch(types.RequestModel):
    """A body with users."""

    row: ClassVar[type[types.RowModel]] = UserRow
    users: Annotated[list[UserRow], Field(max_length=limits.MAX_BATCH, fail_fast=True)]
    """The rows; all are stored or none."""


def _to_batch(name: str, body: Any) -> Any:
    """A body as an object: ``body`` itself, or with one row or a list of rows as its ``name``."""
    if isinstance(body, dict) and name in body:
        return body
    return {name: body if isinstance(body, list) else [body]}


EventRows = Annotated[
    EventBatch,
    BeforeValidator(
        partial(_to_batch, "events"), json_schema_input_type=EventIn | list[EventIn] | EventBatch
    ),
]
"""One event, a list of them, or ``{"events": [...]}``; one invalid event rejects all."""

ItemRows = Annotated[
    ItemBatch,
    BeforeValidator(
        partial(_to_batch, "items"), json_schema_input_type=ItemIn | list[ItemIn] | ItemBatch
    ),
]
"""One item, a list of them, or ``{"items": [...]}``; one invalid item rejects all."""

UserRows = Annotated[
    UserBatch,
    BeforeValidator(
        partial(_to_batch, "users"), json_schema_input_type=UserRow | list[UserRow] | UserBatch
    ),
]
"""One user, a list of them, or ``{"users": [...]}``; one invalid user rejects all."""
