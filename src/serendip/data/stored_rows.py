"""Items and events as rows of the database, and items back out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from serendip.data.event import Event
from serendip.data.item import Attribute, Item


def item_row(item: Item, origin: str) -> dict[str, Any]:
    """The row of an item but its number and version, which the table's last one gives."""
    attributes = json.dumps(dict(item.attributes), ensure_ascii=False, allow_nan=False)
    return {
        "item_id": item.item_id,
        "deleted": False,
        "origin": origin,
        "title": item.title,
        "description": item.description,
        "attributes": attributes,
        "available_from": item.available_from,
    }


def event_row(event: Event, origin: str) -> dict[str, Any]:
    """The row of an event; only one that has an id can be known already."""
    return {
        "event_id": event.event_id or None,
        "origin": origin,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "timestamp": event.timestamp,
        "action": event.action,
        "value": event.value,
        "query": event.query,
        "request_id": event.request_id,
        "position": event.position,
        "surface": event.surface,
        "session_id": event.session_id,
    }


def items_of(rows: Iterable[Sequence[Any]]) -> list[Item]:
    """Items of the rows of ``statements.ITEM_COLUMNS``."""
    return [
        Item(item_id, title, description, _attributes(json.loads(attributes)), available_from)
        for item_id, title, description, attributes, available_from in rows
    ]


def _attributes(values: dict[str, Any]) -> dict[str, Attribute]:
    return {
        name: tuple(value)
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else float(value)
        for name, value in values.items()
    }
