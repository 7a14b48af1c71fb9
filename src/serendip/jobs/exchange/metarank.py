"""Metarank: JSON lines of the events ``item``, ``user``, ``ranking`` and ``interaction``.

A ranking is an impression of each of its items, at its position; an interaction has the query and
the position of its item in the ranking that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from serendip.data.events.event import Event
from serendip.data.events.search_log import IMPRESSION
from serendip.data.files.columns import guess_mapping
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.users.user import User
from serendip.jobs.exchange.rows import (
    BrokenRow,
    ForeignFiles,
    Place,
    Row,
    item_with_texts,
    read_attributes,
    read_number,
    read_text,
    read_time,
    text_names,
)
from serendip.jobs.exchange.times import MILLISECONDS

_TEXTS = ("query", "surface", "country", "device")
"""Fields of an event here that a field of Metarank may be, by its name."""


class _Ranking(NamedTuple):
    """What interactions take from the ranking that they name."""

    positions: Mapping[str, int]
    texts: Row


@dataclass(slots=True)
class MetarankFiles(ForeignFiles):
    """Events of Metarank, also compressed ones."""

    def items(self) -> Iterator[tuple[Place, Item]]:
        """Yield items; later events change fields of earlier ones."""
        places, merged = self._merge("item")
        title, description = text_names(name for one in merged.values() for name in one)
        for item_id, attributes in merged.items():
            yield places[item_id], item_with_texts(item_id, attributes, title, description)

    def users(self) -> Iterator[tuple[Place, User]]:
        """Yield users; later events change fields of earlier ones."""
        places, merged = self._merge("user")
        for user_id, attributes in merged.items():
            yield places[user_id], User(user_id, attributes)

    def events(self) -> Iterator[tuple[Place, Event]]:
        """Yield impressions and interactions; those without a user are of their session."""
        rankings = {}
        for place, row in self._rows("ranking"):
            with self.row(place):
                rankings[read_text(row.get("id"))] = _Ranking(_positions(row), _texts(row))
        for place, row in self._rows("ranking", "interaction"):
            if not (row.get("user") or row.get("session")):
                self.leave_out("events without user and session")
                continue
            with self.row(place):
                if row["event"] == "ranking":
                    for event in _impressions(row):
                        yield place, event
                else:
                    yield place, _interaction(row, rankings.get(read_text(row.get("ranking"))))

    def _rows(self, *kinds: str) -> Iterator[tuple[Place, Row]]:
        for place, row in self.objects():
            if row.get("event") in kinds:
                yield place, row
            elif row.get("event") not in ("item", "user", "ranking", "interaction"):
                with self.row(place):
                    raise BrokenRow(f"event {read_text(row.get('event'))[:40]!r} is unknown")

    def _merge(self, kind: str) -> tuple[dict[str, Place], dict[str, dict[str, Attribute]]]:
        """Id -> place of its last event, and -> its fields."""
        places: dict[str, Place] = {}
        merged: dict[str, dict[str, Attribute]] = {}
        for place, row in self._rows(kind):
            with self.row(place):
                given = _fields(row)
                changed = read_attributes(given)
                name = read_text(row.get(kind))
                places[name] = place
                fields = merged.setdefault(name, {})
                for field in given:
                    fields.pop(field, None)  # an empty value removes what was there
                fields.update(changed)
        return places, merged


def _fields(row: Row) -> dict[str, Any]:
    """Fields by name."""
    fields = row.get("fields") or []
    if not isinstance(fields, list) or not all(isinstance(one, dict) for one in fields):
        raise BrokenRow("fields is not a list of objects with `name` and `value`")
    return {read_text(one.get("name")): one.get("value") for one in fields}


@lru_cache(maxsize=1024)
def _meaning(names: tuple[str, ...]) -> Mapping[str, str]:
    """Field of an event here -> the name among these that means it."""
    return guess_mapping(names, "events")


def _texts(row: Row) -> Row:
    """Field of an event -> text, by the names of the fields."""
    fields = _fields(row)
    found = _meaning(tuple(fields))
    return {name: read_text(fields[found[name]]) for name in _TEXTS if name in found}


def _value(row: Row) -> float | None:
    """The number of the field that is a value or a rating by its name."""
    fields = _fields(row)
    value = fields.get(_meaning(tuple(fields)).get("value", ""))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return read_number(value, "value")


def _items(row: Row) -> list[str]:
    """Ids of the items of a ranking, in order."""
    items = row.get("items") or []
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise BrokenRow("items is not a list of objects with `id`")
    return [read_text(one.get("id")) for one in items]


def _positions(row: Row) -> dict[str, int]:
    positions: dict[str, int] = {}
    for position, item_id in enumerate(_items(row)):
        positions.setdefault(item_id, position)
    return positions


def _impressions(row: Row) -> Iterator[Event]:
    """One event for each item of a ranking; a search that found nothing is an event, too."""
    shown = _items(row)
    texts = _texts(row)
    request_id = read_text(row.get("id"))
    for position, item_id in enumerate(shown):
        yield Event(
            item_id=item_id,
            action=IMPRESSION,
            position=position,
            request_id=request_id,
            **_common(row),
            **texts,
        )
    if not shown and texts.get("query"):
        yield Event(item_id="", action="search", request_id=request_id, **_common(row), **texts)


def _interaction(row: Row, ranking: _Ranking | None) -> Event:
    item_id = read_text(row.get("item"))
    texts = _texts(row)
    return Event(
        item_id=item_id,
        action=read_text(row.get("type")),
        value=_value(row),
        request_id=read_text(row.get("ranking")),
        position=ranking.positions.get(item_id) if ranking else None,
        **_common(row),
        **({**ranking.texts, **texts} if ranking else texts),
    )


def _common(row: Row) -> dict[str, Any]:
    """User, time and session of an event."""
    session = read_text(row.get("session"))
    user = read_text(row.get("user")) or session
    timestamp = read_time(row.get("timestamp"), MILLISECONDS)
    return {"user_id": user, "timestamp": timestamp, "session_id": session}
