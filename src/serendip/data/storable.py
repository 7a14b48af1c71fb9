"""What may enter: the rules that every item and event meets at the door, wherever it comes from.

Files, the HTTP API and the store ask the same functions, so that one accepted value is accepted
everywhere (SQLite and PostgreSQL differ on NUL bytes, JSON writers on NaN and lone surrogates).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from serendip.data.event import Event
from serendip.data.item import Attribute, Item
from serendip.errors import DataError

MAX_ID_LENGTH = 512
MAX_POSITION = 2**31 - 1
# Years 1 to 9999: beyond them no calendar can print the time.
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0


def text_problem(text: str) -> str:
    """Why a text cannot be stored; empty where it can."""
    if "\0" in text:
        return "holds a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds half of a character (a lone surrogate)"
    return ""


def id_problem(name: str) -> str:
    """Why a string cannot be an id; empty where it can."""
    if not name or name.isspace():
        return "is empty"
    if len(name) > MAX_ID_LENGTH:
        return f"is longer than {MAX_ID_LENGTH} characters"
    return text_problem(name)


def item_problem(item: Item) -> str:
    """Why an item cannot be stored; empty where it can."""
    if problem := id_problem(item.item_id):
        return f"item_id {item.item_id[:80]!r} {problem}"
    for name, text in (("title", item.title), ("description", item.description)):
        if problem := text_problem(text):
            return f"{name} {problem}"
    if item.available_from is not None and not EARLIEST <= item.available_from <= LATEST:
        return f"available_from {item.available_from!r} is not a time"
    return _attribute_problem(item)


def event_problem(event: Event) -> str:
    """Why an event cannot be stored; empty where it can.

    ``item_id`` may be empty where there is a query: a search without a click is an event too.
    """
    if problem := id_problem(event.user_id):
        return f"user_id {event.user_id[:80]!r} {problem}"
    if (event.item_id or not event.query) and (problem := id_problem(event.item_id)):
        return f"item_id {event.item_id[:80]!r} {problem}"
    if not EARLIEST <= event.timestamp <= LATEST:
        return f"timestamp {event.timestamp!r} is not a time"
    if not event.action:
        return "action '' is empty"
    if event.value is not None and not math.isfinite(event.value):
        return f"value {event.value!r} is not a finite number"
    if event.position is not None and not 0 <= event.position <= MAX_POSITION:
        return f"position {event.position!r} is not a place from 0 to {MAX_POSITION}"
    return _event_text_problem(event)


def require_items(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items unchanged.

    Raises:
        DataError: one of them cannot be stored.
    """
    for item in items:
        if problem := item_problem(item):
            raise DataError(f"an item cannot be stored: {problem}.")
        yield item


def require_events(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events unchanged.

    Raises:
        DataError: one of them cannot be stored.
    """
    for event in events:
        if problem := event_problem(event):
            raise DataError(f"an event cannot be stored: {problem}.")
        yield event


def _attribute_problem(item: Item) -> str:
    for name, value in item.attributes.items():
        if problem := text_problem(name) or _value_problem(value):
            return f"attribute {name!r} {problem}"
    return ""


def _value_problem(value: Attribute) -> str:
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, tuple):
        return text_problem("".join(value))
    return "" if math.isfinite(value) else f"{value!r} is not a finite number"


def _event_text_problem(event: Event) -> str:
    texts = (
        *(event.action, event.query, event.request_id),
        *(event.surface, event.session_id, event.event_id),
    )
    joined = "".join(texts)
    if joined.isascii() and "\0" not in joined:
        return ""
    names = ("action", "query", "request_id", "surface", "session_id", "event_id")
    for name, text in zip(names, texts, strict=True):
        if problem := text_problem(text):
            return f"{name} {problem}"
    return ""
