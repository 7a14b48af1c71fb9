"""Validation of items and events: the rules of the store, which files are checked by, too.

The HTTP API is stricter (``serve.api.types``). SQLite and PostgreSQL differ on NUL bytes, JSON
writers on NaN and lone surrogates. Size limits are in ``limits``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from serendip.data.events.event import EVENT_NUMBERS, EVENT_TEXTS, Event
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.limits import (
    EARLIEST,
    LATEST,
    MAX_ATTRIBUTE_VALUES,
    MAX_ATTRIBUTES,
    MAX_ID_BYTES,
    MAX_ITEM_CHARS,
    MAX_QUERY_CHARS,
    MAX_TEXT_CHARS,
    RESERVED_ENDING,
)
from serendip.data.users.user import COUNTRY, User
from serendip.errors import DataError

T = TypeVar("T")

_SAME_NAMES: Mapping[str, str] = {}
_TEXTS = {name: EVENT_TEXTS[name] for name in EVENT_TEXTS if name not in ("user_id", "item_id")}
_SPANS = [column.span for column in EVENT_NUMBERS.values()]
_TEXTS_OF, _NUMBERS_OF = attrgetter(*_TEXTS), attrgetter(*EVENT_NUMBERS)


def text_problem(text: str, most: int = MAX_TEXT_CHARS) -> str:
    """Why a text of at most ``most`` characters is invalid; empty if it is valid."""
    if len(text) > most:
        return f"has {len(text):,} characters; at most {most:,} are allowed"
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains half of a character (a lone surrogate)"
    return ""


def id_problem(name: str) -> str:
    """Why a string is not a valid id; empty if it is."""
    return "is empty" if not name or name.isspace() else _name_problem(name)


def item_problem(item: Item, columns: Mapping[str, str] = _SAME_NAMES) -> str:
    """Why an item is invalid; empty if not; ``columns`` names fields as in a file, say."""
    problem = id_problem(item.item_id)
    if item.item_id.endswith(RESERVED_ENDING):
        problem = f"ends in {RESERVED_ENDING!r}, which the API reserves for similar items"
    if problem:
        return _wrong("item_id", item.item_id, columns, problem)
    for name, text in (("title", item.title), ("description", item.description)):
        if problem := text_problem(text):
            return f"{name}{_in_column(name, columns)} {problem}"
    if item.available_from is not None and not EARLIEST <= item.available_from <= LATEST:
        return f"available_from {item.available_from!r} is not a time"
    return _attribute_problem(item.attributes, columns) or _size_problem(item)


def event_problem(event: Event, columns: Mapping[str, str] = _SAME_NAMES) -> str:
    """Why an event is invalid; empty if it is valid; ``columns`` as in ``item_problem``."""
    if problem := id_problem(event.user_id):
        return _wrong("user_id", event.user_id, columns, problem)
    # A search without a click is an event, too.
    if (event.item_id or not event.query) and (problem := id_problem(event.item_id)):
        return _wrong("item_id", event.item_id, columns, problem)
    if not event.action:
        return "action '' is empty"
    for name, (least, most), number in zip(EVENT_NUMBERS, _SPANS, _NUMBERS_OF(event), strict=True):
        if number is not None and not least <= number <= most:
            return f"{name} {number!r} is not {EVENT_NUMBERS[name].meaning}"
    return _event_text_problem(event, columns)


def user_problem(user: User, columns: Mapping[str, str] = _SAME_NAMES) -> str:
    """Why a user is invalid; empty if they are valid; ``columns`` as in ``item_problem``."""
    if problem := id_problem(user.user_id):
        return _wrong("user_id", user.user_id, columns, problem)
    country = user.attributes.get(COUNTRY, "")
    if not isinstance(country, str):
        return f"attribute 'country'{_in_column(COUNTRY, columns)} {country!r} is not a text"
    if problem := _name_problem(country):
        return f"attribute 'country'{_in_column(COUNTRY, columns)} {country[:80]!r} {problem}"
    return _attribute_problem(user.attributes, columns)


def require_valid(values: Iterable[T], find_problem: Callable[[T], str], name: str) -> Iterator[T]:
    """Yield values unchanged; a ``DataError`` if one is invalid."""
    for value in values:
        if problem := find_problem(value):
            raise DataError(f"{name} cannot be stored: {problem}.")
        yield value


def _wrong(name: str, value: str, columns: Mapping[str, str], problem: str) -> str:
    return f"{name} {value[:80]!r}{_in_column(name, columns)} {problem}"


def _in_column(name: str, columns: Mapping[str, str]) -> str:
    column = columns.get(name, name)  # of the source
    return f" (column {column!r})" if column != name else ""


def _name_problem(name: str) -> str:
    size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_ID_BYTES:
        return f"has {size:,} bytes; an id has at most {MAX_ID_BYTES}"
    return text_problem(name)


def _attribute_problem(attributes: Mapping[str, Attribute], columns: Mapping[str, str]) -> str:
    if len(attributes) > MAX_ATTRIBUTES:
        return f"has {len(attributes):,} attributes; at most {MAX_ATTRIBUTES} are allowed"
    for name, value in attributes.items():
        if problem := _name_problem(name) or _value_problem(value):
            return f"attribute {name[:80]!r}{_in_column(name, columns)} {problem}"
    return ""


def _value_problem(value: Attribute) -> str:
    if isinstance(value, str):
        return text_problem(value)
    if not isinstance(value, tuple):
        return "" if math.isfinite(value) else f"{value!r} is not a finite number"
    if len(value) > MAX_ATTRIBUTE_VALUES:
        return f"has {len(value):,} values; at most {MAX_ATTRIBUTE_VALUES:,} are allowed"
    return next(filter(None, map(text_problem, value)), "")


def _size_problem(item: Item) -> str:
    values = item.attributes.values()
    lists = chain.from_iterable(value for value in values if isinstance(value, tuple))
    texts = item.title, item.description, *(one for one in values if isinstance(one, str)), *lists
    size = sum(map(len, texts))
    told = f"has {size:,} characters in all; at most {MAX_ITEM_CHARS:,} are allowed"
    return told if size > MAX_ITEM_CHARS else ""


def _event_text_problem(event: Event, columns: Mapping[str, str]) -> str:
    texts = _TEXTS_OF(event)
    joined = "".join(texts)
    if len(joined) <= MAX_ID_BYTES and joined.isascii() and "\0" not in joined:
        return ""
    for (name, column), text in zip(_TEXTS.items(), texts, strict=True):
        problem = _name_problem(text) if column.is_id else text_problem(text, MAX_QUERY_CHARS)
        if problem:
            return f"{name}{_in_column(name, columns)} {problem}"
    return ""
