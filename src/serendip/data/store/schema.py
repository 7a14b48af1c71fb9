"""Database schema of the store: tables, and the statements that several modules use.

The tables work on SQLite and PostgreSQL alike. ``items`` keeps a deleted item as a tombstone with
a new version, so that incremental readers see the deletion. ``origin`` says who wrote a row last,
``file`` or ``api``: an import replaces only rows that came from files. ``events`` is the tail of
the event log: what the API appended since events were packed last. ``pack_rows`` has one row for
each user of a pack (``event_log.packs``), ``packs`` names the packs that count, ``pack_names`` has
what the events of a pack share. ``users`` holds attributes of users, ``api_keys`` the keys of the
service without their secrets. ``generated_rows`` has what an LLM or a rule wrote about items, apart
from the catalogue's own columns, and ``llm_calls`` every request to an LLM. ``erased_users`` knows
by digests who was erased; ``copies`` names the backups that were made, and the files with users or
items.

``item_row`` and ``event_row`` convert values to rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    false,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.event_log.packs import TEXTS
from serendip.data.store.item_rows import ITEM_NAMES, item_values
from serendip.data.store.upsert import Insert, insert_into, upsert

Origin: TypeAlias = Literal["file", "api"]
FROM_FILE: Final = "file"
FROM_API: Final = "api"

METADATA = MetaData()
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""A text that compares by its bytes, so that every order is the same on both."""


def name_type(length: int) -> TypeEngine[str]:
    """A text of few characters that compares by its bytes."""
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


# SQLite auto-increments only a column of exactly this type.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

ITEMS = Table(
    "items",
    METADATA,
    Column("item_id", TEXT, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False, unique=True),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("origin", name_type(8), nullable=False),
    Column("title", TEXT, nullable=False),
    Column("description", TEXT, nullable=False),
    Column("attributes", TEXT, nullable=False),
    Column("available_from", Double, nullable=True),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("event_id", TEXT, nullable=True, unique=True),
    Column("user_id", TEXT, nullable=False),
    Column("item_id", TEXT, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("value", Double, nullable=True),
    Column("query", TEXT, nullable=False),
    Column("request_id", TEXT, nullable=False),
    Column("position", Integer, nullable=True),
    Column("surface", TEXT, nullable=False),
    Column("session_id", TEXT, nullable=False),
    Column("country", TEXT, nullable=False, server_default=""),
    Column("device", TEXT, nullable=False, server_default=""),
    Column("propensity", Double, nullable=True),
    sqlite_autoincrement=True,
)
Index("events_of_user", EVENTS.c.user_id, EVENTS.c.timestamp, EVENTS.c.seq)

PACKS = Table(
    "packs",
    METADATA,
    Column("pack", BigInteger, primary_key=True, autoincrement=False),
    Column("origin", name_type(8), nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("stale", Boolean, nullable=False, server_default=false()),
    Column("fields", TEXT, nullable=False),
)

PACK_NAMES = Table(
    "pack_names",
    METADATA,
    Column("pack", BigInteger, primary_key=True, autoincrement=False),
    Column("name", name_type(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

PACK_ROWS = Table(
    "pack_rows",
    METADATA,
    Column("pack", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", TEXT, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("newest", Double, nullable=False),
    Column("records", LargeBinary, nullable=False),
    *(Column(name, LargeBinary, nullable=True) for name in TEXTS),
)
# Has what counting users needs, so that it reads no array.
Index("packs_of_user", PACK_ROWS.c.user_id, PACK_ROWS.c.pack, PACK_ROWS.c.events)

GENERATED = Table(
    "generated_rows",
    METADATA,
    Column("kind", name_type(8), primary_key=True),
    Column("item_id", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("source", name_type(8), primary_key=True),
    Column("value", TEXT, nullable=False),
    Column("model", TEXT, nullable=False),
    Column("prompt", TEXT, nullable=False),
    Column("digest", name_type(64), nullable=False),
    Column("active", Boolean, nullable=False, server_default=false()),
)

LLM_CALLS = Table(
    "llm_calls",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("job", TEXT, nullable=False),
    Column("prompt", TEXT, nullable=False),
    Column("prompt_digest", name_type(16), nullable=False),
    Column("model", TEXT, nullable=False),
    Column("data", name_type(64), nullable=False),
    Column("state", name_type(8), nullable=False),
    Column("failure", TEXT, nullable=False),
    Column("answer", TEXT, nullable=False),
    Column("sent", BigInteger, nullable=True),
    Column("answered", BigInteger, nullable=True),
    Column("seconds", Double, nullable=True),
    Column("price", Double, nullable=False),
    Column("sent_at", Double, nullable=False),
    sqlite_autoincrement=True,
)
Index("llm_calls_of_job", LLM_CALLS.c.job)
Index("llm_calls_about", LLM_CALLS.c.data)

USER_TABLE = Table(
    "users",
    METADATA,
    Column("user_id", TEXT, primary_key=True),
    Column("attributes", TEXT, nullable=False),
    Column("origin", name_type(8), nullable=False),
)

KEY_TABLE = Table(
    "api_keys",
    METADATA,
    Column("key_id", name_type(32), primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("scopes", TEXT, nullable=False),
    Column("hash", TEXT, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=True),
    Column("revoked", Double, nullable=True),
)

ERASED_USERS = Table(
    "erased_users",
    METADATA,
    Column("digest", name_type(64), primary_key=True),
    Column("moment", Double, nullable=False),
    Column("removals", BigInteger, nullable=False),
    Column("until", Double, nullable=False),
)

COPIES = Table(
    "copies",
    METADATA,
    Column("kind", name_type(8), primary_key=True),
    Column("place", TEXT, primary_key=True),
    Column("removals", BigInteger, nullable=False),
    Column("item_version", BigInteger, nullable=False),
)

META = Table(
    "meta",
    METADATA,
    Column("key", name_type(64), primary_key=True),
    Column("value", TEXT, nullable=False),
)

_CONTENT = ("title", "description", "attributes", "available_from")
EVENT_NAMES = tuple(name for name in EVENTS.c.keys() if name != "seq")
"""Columns that ``event_row`` fills."""

FROM_FILES = select(ITEMS.c.item_id).where(not_(ITEMS.c.deleted), ITEMS.c.origin == FROM_FILE)
BLANK_ITEMS = select(ITEMS.c.item_id).where(
    *(ITEMS.c.deleted, ITEMS.c.origin == FROM_API, ITEMS.c.title == ""),
    *(ITEMS.c.description == "", ITEMS.c.attributes == "{}"),
)
META_VALUE = select(META.c.value).where(META.c.key == bindparam("name"))


def upsert_items(
    dialect: str, origin: str, rows: Select[Any] | None = None, names: Sequence[str] = ()
) -> Any:
    """Insert items, or replace those of the same id.

    The API always replaces and restores a deleted item. A file replaces only rows that a file
    wrote, and only if something differs, so that a new version means a change.

    Args:
        dialect: of the database.
        origin: who writes.
        rows: select that yields the items; None = values passed at execution.
        names: columns of ``rows``.
    """
    insert = insert_into(dialect, ITEMS)
    new = insert.excluded
    changes = {name: new[name] for name in ("version", "deleted", "origin", *_CONTENT)}
    condition = None
    if origin != FROM_API:
        differs = [ITEMS.c[name].is_distinct_from(new[name]) for name in _CONTENT]
        condition = and_(ITEMS.c.origin == FROM_FILE, or_(ITEMS.c.deleted, *differs))
    filled = insert if rows is None else insert.from_select(names, rows)
    return filled.on_conflict_do_update(
        index_elements=[ITEMS.c.item_id], set_=changes, where=condition
    )


def insert_events(dialect: str) -> Insert:
    """Insert events; an event whose ``event_id`` is in the table is skipped."""
    insert = insert_into(dialect, EVENTS, EVENT_NAMES)
    return insert.on_conflict_do_nothing(index_elements=[EVENTS.c.event_id])


def read_meta(connection: Connection, key: str) -> str:
    """The value of the meta table under a key; empty = there is none."""
    return str(connection.scalar(META_VALUE, {"name": key}) or "")


def set_meta(connection: Connection, key: str, value: str) -> None:
    """Set a value of the meta table, under a key of at most 64 characters."""
    upsert(connection, META, [{"key": key, "value": value}])


def count_meta(connection: Connection, key: str) -> int:
    """Count up a number of the meta table."""
    number = int(read_meta(connection, key) or 0) + 1
    set_meta(connection, key, str(number))
    return number


def item_row(item: Item, origin: str) -> dict[str, Any]:
    """Convert an item to a row, without number and version, which the caller assigns."""
    values = dict(zip(ITEM_NAMES, item_values(item), strict=True))
    return {**values, "deleted": False, "origin": origin}


def event_row(event: Event) -> dict[str, Any]:
    """Convert an event to a row; without an ``event_id`` it is never a duplicate."""
    return {
        "event_id": event.event_id or None,
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
        "country": event.country,
        "device": event.device,
        "propensity": event.propensity,
    }
