"""User Behavior Insights, schema 1.3: queries and events, as OpenSearch keeps them.

A request is a query, its ``request_id`` the ``query_id``. Ordinals count from 1, positions here
from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from serendip.data.events.event import Event
from serendip.data.events.search_log import IMPRESSION
from serendip.data.items.catalogue import Item
from serendip.data.users.user import User
from serendip.jobs.exchange.rows import (
    BrokenRow,
    ExportFormat,
    ForeignFiles,
    Place,
    Row,
    filled_row,
    iso_time,
    iterate_events,
    json_line,
    read_number,
    read_text,
    read_time,
)

if TYPE_CHECKING:
    import pyarrow as pa

EVENTS, QUERIES = "ubi_events", "ubi_queries"
"""The indices of OpenSearch, and the files."""

_OF_QUERY = "QUERY"
"""``message_type`` of an event whose message is the query."""

_TEXTS = ("surface", "country", "device", "event_id")
_NUMBERS = ("value", "propensity")
"""Fields without a place in the schema, which are attributes of events."""


@dataclass(slots=True)
class _Query:
    """A request with a text, gathered from its events.

    Args:
        first: the event with the text that came first.
        shown: position -> item.
    """

    first: Event
    shown: dict[int, str] = field(default_factory=dict)

    def hits(self) -> list[str]:
        """The shown items from position 0 on, as far as all are known."""
        hits: list[str] = []
        while len(hits) in self.shown:
            hits.append(self.shown[len(hits)])
        return hits


class UbiFormat(ExportFormat):
    """Bulk requests for two indices: queries of requests with a text, and all events.

    The person is the client and the user. What the schema has no field for is an attribute.
    """

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``ubi_events.ndjson`` and ``ubi_queries.ndjson``, for ``POST /_bulk``."""
        queries: dict[str, _Query] = {}
        shown: dict[str, dict[int, str]] = {}
        with (folder / f"{EVENTS}.ndjson").open("w", encoding="utf-8") as file:
            action = json_line({"index": {"_index": EVENTS}})
            for event in iterate_events(events):
                file.write(action + json_line(_event_row(event)))
                if event.query and event.request_id:
                    queries.setdefault(event.request_id, _Query(event))
                if event.action == IMPRESSION and event.position is not None:
                    shown.setdefault(event.request_id, {})[event.position] = event.item_id
        with (folder / f"{QUERIES}.ndjson").open("w", encoding="utf-8") as file:
            action = json_line({"index": {"_index": QUERIES}})
            for query_id, query in queries.items():
                query.shown = shown.get(query_id, {})
                file.write(action + json_line(_query_row(query)))


def _query_row(query: _Query) -> Row:
    first = query.first
    return filled_row(
        application=first.surface,
        query_id=first.request_id,
        client_id=first.user_id,
        user_query=first.query,
        timestamp=iso_time(first.timestamp),
        object_id_field="item_id",
        query_response_id=first.request_id,
        query_response_hit_ids=query.hits(),
        query_attributes=filled_row(surface=first.surface),
    )


def _event_row(event: Event) -> Row:
    attributes = {name: getattr(event, name) for name in (*_TEXTS, *_NUMBERS)}
    if event.item_id:
        attributes["object"] = {"object_id": event.item_id, "object_id_field": "item_id"}
    if event.position is not None:
        attributes["position"] = {"ordinal": event.position + 1}
    return filled_row(
        application=event.surface,
        action_name=event.action,
        query_id=event.request_id,
        session_id=event.session_id,
        client_id=event.user_id,
        user_id=event.user_id,
        timestamp=iso_time(event.timestamp),
        message_type=_OF_QUERY if event.query else "",
        message=event.query,
        event_attributes=filled_row(**attributes),
    )


@dataclass(slots=True)
class UbiFiles(ForeignFiles):
    """Queries and events as JSON lines, bulk requests or hits of a search; the fields tell which.

    An event takes text and position from its query, where it has none itself. A query that no event
    names is a search without a choice. Hits that nobody was seen to look at are no impressions.
    """

    def items(self) -> Iterator[tuple[Place, Item]]:
        """There are none: the catalogue is elsewhere."""
        yield from ()

    def users(self) -> Iterator[tuple[Place, User]]:
        """There are none."""
        yield from ()

    def events(self) -> Iterator[tuple[Place, Event]]:
        """Yield the events, and then the searches without any."""
        queries = self._queries()
        first = self._lowest_ordinal()
        named = set()
        for place, row in self._rows():
            if "action_name" not in row:
                continue
            with self.row(place):
                query_id = read_text(row.get("query_id"))
                named.add(query_id)
                event = _read_event(row, queries.get(query_id, _NO_QUERY), first)
                if self._keeps(event):
                    yield place, event
        for query_id, query in queries.items():
            if query_id in named:
                continue
            if not query.row.get("timestamp"):
                self.leave_out("queries without events and time")
                continue
            with self.row(query.place):
                event = _read_search(query.row)
                if self._keeps(event):
                    yield query.place, event

    def _queries(self) -> dict[str, _KnownQuery]:
        """Query id -> the query."""
        queries: dict[str, _KnownQuery] = {}
        for place, row in self._rows():
            if "action_name" in row:
                continue
            if not row.get("query_id"):
                self.leave_out("rows without action_name and query_id")
                continue
            with self.row(place):
                queries[read_text(row["query_id"])] = _KnownQuery(place, row, _hit_positions(row))
        return queries

    def _keeps(self, event: Event) -> bool:
        if not event.user_id:
            self.leave_out("events without client, user and session")
        elif not (event.item_id or event.query):
            self.leave_out("events without object and query")
        return bool(event.user_id and (event.item_id or event.query))

    def _lowest_ordinal(self) -> int:
        """From which ordinal on positions are counted: 0 if there is any, else 1."""
        lowest = 1
        for place, row in self._rows():
            with self.row(place):
                if "action_name" in row and _ordinal(row) == 0:
                    lowest = 0
        return lowest

    def _rows(self) -> Iterator[tuple[Place, Row]]:
        """The documents, without the action lines of bulk requests."""
        for place, row in self.objects():
            if isinstance(row.get("_source"), dict):
                yield place, row["_source"]
            elif not row.keys() <= {"index", "create"}:
                yield place, row


class _KnownQuery(NamedTuple):
    """A query of the files.

    Args:
        place: of its row.
        row: the query.
        positions: item -> its place among the hits.
    """

    place: Place
    row: Row
    positions: Mapping[str, int]


_NO_QUERY = _KnownQuery(Place(Path(), 0), {}, {})


def _read_event(row: Row, query: _KnownQuery, first_ordinal: int) -> Event:
    attributes = _inner(row, "event_attributes")
    item_id = read_text(_inner(attributes, "object").get("object_id"))
    ordinal = _ordinal(row)
    position = query.positions.get(item_id) if ordinal is None else ordinal - first_ordinal
    session = read_text(row.get("session_id") or attributes.get("session_id"))
    texts: Row = {name: read_text(attributes.get(name)) for name in _TEXTS}
    numbers: Row = {name: read_number(attributes.get(name), name) for name in _NUMBERS}
    return Event(
        user_id=_person(row) or session,
        item_id=item_id,
        timestamp=read_time(row.get("timestamp")),
        action=read_text(row["action_name"]),
        query=_event_text(row) or read_text(query.row.get("user_query")),
        request_id=read_text(row.get("query_id")),
        position=position,
        session_id=session,
        **texts,
        **numbers,
    )


def _read_search(query: Row) -> Event:
    return Event(
        user_id=_person(query),
        item_id="",
        timestamp=read_time(query.get("timestamp")),
        action="search",
        query=read_text(query.get("user_query")),
        request_id=read_text(query["query_id"]),
        surface=read_text(_inner(query, "query_attributes").get("surface")),
    )


def _person(row: Row) -> str:
    return read_text(row.get("user_id")) or read_text(row.get("client_id"))


def _event_text(row: Row) -> str:
    if row.get("message_type") == _OF_QUERY:
        return read_text(row.get("message"))
    return read_text(row.get("user_query"))


def _ordinal(row: Row) -> int | None:
    position = _inner(_inner(row, "event_attributes"), "position")
    ordinal = read_number(position.get("ordinal"), "ordinal")
    if ordinal is None:
        return None
    if not ordinal.is_integer():
        raise BrokenRow(f"ordinal {ordinal:g} is not a whole number")
    return int(ordinal)


def _hit_positions(query: Row) -> dict[str, int]:
    """Item -> its place among the hits, the first one if it is there more than once."""
    hits = query.get("query_response_hit_ids") or []
    if not isinstance(hits, list):
        raise BrokenRow(f"query_response_hit_ids {read_text(hits)[:40]!r} is no list")
    positions: dict[str, int] = {}
    for position, hit in enumerate(hits):
        positions.setdefault(read_text(hit), position)
    return positions


def _inner(row: Row, name: str) -> dict[str, Any]:
    inner = row.get(name)
    if inner is not None and not isinstance(inner, dict):
        raise BrokenRow(f"{name} {read_text(inner)[:40]!r} is not an object")
    return inner or {}
