"""Bodies and parameters as they come in: their names, types and limits.

The same model reads the parameters of a GET and the body of the POST beside it, so both accept
exactly the same names. Unknown names are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from serendip.data import Event, Item, Surface
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.strict_json import check_text

ModelT = TypeVar("ModelT", bound=BaseModel)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMED_INSIDE = ("]", ".attributes")


def _storable(value: str) -> str:
    try:
        return check_text(value, "it")
    except DataError as error:
        raise ValueError(error.message) from None


def _short_id(value: str) -> str:
    size = len(_storable(value).encode("utf-8"))
    if size > limits.MAX_ID_BYTES:
        raise ValueError(f"it has {size} bytes; an id has at most {limits.MAX_ID_BYTES}")
    if _CONTROL.search(value):
        raise ValueError("it holds a control character; an id is one line of text")
    return value


def _whole_number(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError("it is not a whole number")
    return int(value) if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _time(value: float) -> float:
    if not 0 <= value < limits.LATEST_TIMESTAMP:
        raise ValueError("a time is in Unix seconds, between the years 1970 and 9999")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("it is not a finite number")
    return value


OptionalId = Annotated[str, AfterValidator(_short_id)]
Id = Annotated[str, Field(min_length=1), AfterValidator(_short_id)]
Text = Annotated[str, Field(max_length=limits.MAX_QUERY_CHARS), AfterValidator(_storable)]
LongText = Annotated[str, Field(max_length=limits.MAX_TEXT_CHARS), AfterValidator(_storable)]
Cursor = Annotated[str, Field(max_length=limits.MAX_CURSOR_CHARS), AfterValidator(_storable)]
Count = Annotated[int, Field(ge=1, le=limits.MAX_K), BeforeValidator(_whole_number)]
Ids = Annotated[list[Id], Field(max_length=limits.MAX_SOURCE_ITEMS), BeforeValidator(_as_list)]
Number = Annotated[float, AfterValidator(_finite)]
Time = Annotated[float, AfterValidator(_time)]
Attribute = (
    Number | LongText | Annotated[list[LongText], Field(max_length=limits.MAX_ATTRIBUTE_VALUES)]
)


class Wire(BaseModel):
    """Base of what comes in: exact types, no unknown names."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class PathId(Wire):
    """An id that is part of a path."""

    id: Id
    """The id."""


class _Page(Wire):
    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    k: Count = 10
    """How many items, 1 to 1,000."""

    cursor: Cursor = ""
    """``next`` of the answer before."""


class SearchQuery(_Page):
    """A search."""

    q: Text = ""
    """What was typed."""


class RecommendQuery(_Page):
    """A request for recommendations."""

    surface: Surface = "home"
    """Where the answer will be shown."""

    item_id: Ids = Field(default=[])
    """Items in context: the one looked at, the cart. May be repeated."""


class SimilarQuery(_Page):
    """A request for items like one item."""


class SuggestQuery(Wire):
    """A request for query suggestions."""

    q: Text = ""
    """What was typed so far."""

    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    k: Count = 8
    """How many suggestions."""


class ExplainQuery(Wire):
    """A question why an item would be shown."""

    item_id: Id
    """The item to explain."""

    surface: Surface = "home"
    """Where it would be shown."""

    user_id: OptionalId = ""
    """To whom; empty for an unknown visitor."""

    q: Text = ""
    """What was typed, for the surface ``search``."""

    source_item_id: Ids = Field(default=[])
    """Items in context. May be repeated."""


class UsersQuery(Wire):
    """How many known users or events to list."""

    limit: Count = 50
    """At most this many."""


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

    position: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """0-based place in that answer."""

    surface: Surface | Annotated[str, Field(max_length=0)] = ""
    """Where it happened."""

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
            str(self.surface),
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

    attributes: Annotated[dict[Id, Attribute], Field(max_length=limits.MAX_ATTRIBUTES)] = Field(
        default={}
    )
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


def read(model: type[ModelT], values: Any) -> ModelT:
    """Values as a model.

    Raises:
        DataError: the first wrong name or value.
    """
    if not isinstance(values, Mapping):
        raise DataError("the body is not an object.", f"Known names: {_names(model)}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise complaint(error, model) from None


def repeated_names(model: type[BaseModel]) -> frozenset[str]:
    """Parameters of a model that may be given more than once."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if isinstance(field.default, list))


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


def complaint(error: ValidationError, model: type[BaseModel], rows: str = "") -> DataError:
    """The first problem of a validation error, with its place, its value and the known names."""
    first = error.errors(include_url=False)[0]
    place = rows
    for part in first["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part in model.model_fields or place in ("", rows) or place.endswith(_NAMED_INSIDE):
            place += f".{part}" if place else str(part)
    place = place[:80] or "the body"
    if first["type"] == "extra_forbidden":
        return DataError(f"{place} is not known here.", f"Known names: {_names(model)}.")
    if first["type"] == "missing":
        return DataError(f"{place} is missing.", f"Known names: {_names(model)}.")
    message = first["msg"].removeprefix("Value error, ")
    return DataError(f"{place} = {_shown(first['input'])}: {message}.")


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


def _names(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
