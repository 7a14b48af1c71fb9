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
"""

from __future__ import annotations

from operator import attrgetter
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
    String,
    Table,
    Text,
    bindparam,
    false,
    literal_column,
    not_,
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
# Compares by its bytes: the same order on both.
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def name_type(length: int) -> TypeEngine[str]:
    """A text of few characters that compares by its bytes."""
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


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
    *_texts("title", "description", "attributes"),
    Column("available_from", Double, nullable=True),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("event_id", TEXT, nullable=True, unique=True),
    *_texts("user_id", "item_id"),
    Column("timestamp", Double, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("value", Double, nullable=True),
    *_texts("query", "request_id"),
    Column("position", Integer, nullable=True),
    *_texts("surface", "session_id"),
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
    *_numbers("first_seq", "last_seq", "events"),
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
    *_numbers("events", "last"),
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
    *_texts("value", "model", "prompt"),
    Column("digest", name_type(64), nullable=False),
    Column("active", Boolean, nullable=False, server_default=false()),
)

LLM_CALLS = Table(
    "llm_calls",
    METADATA,
    Column("number", Integer, primary_key=True),
    *_texts("job", "prompt"),
    Column("prompt_digest", name_type(16), nullable=False),
    Column("model", TEXT, nullable=False),
    Column("data", name_type(64), nullable=False),
    Column("state", name_type(8), nullable=False),
    *_texts("failure", "answer"),
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
    *_texts("name", "scopes", "hash"),
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
    *_numbers("removals", "item_version"),
)

META = Table(
    "meta",
    METADATA,
    Column("key", name_type(64), primary_key=True),
    Column("value", TEXT, nullable=False),
)

_CONTENT = ("title", "description", "attributes", "available_from")
EVENT_NAMES = tuple(name for name in EVENTS.c.keys() if name != "seq")  # filled by ``event_row``
_EVENT_VALUES = attrgetter(*EVENT_NAMES)

FROM_FILES = select(ITEMS.c.item_id).where(not_(ITEMS.c.deleted), ITEMS.c.origin == FROM_FILE)
BLANK_ITEMS = select(ITEMS.c.item_id).where(
    *(ITEMS.c.deleted, ITEMS.c.origin == FROM_API, ITEMS.c.title == ""),
    *(ITEMS.c.description == "", ITEMS.c.attributes == "{}"),
)
META_VALUE = select(META.c.value).where(META.c.key == bindparam("name"))


def upsert_items(dialect: str, origin: str) -> Insert:
    """Insert items, or replace those of the same id.

    The API always replaces and restores a deleted item. A file replaces only rows that a file
    wrote.
    """
    insert = insert_into(dialect, ITEMS, ITEMS.c.keys())
    new = insert.excluded
    changes = {name: new[name] for name in ("version", "deleted", "origin", *_CONTENT)}
    is_of_file = ITEMS.c.origin == literal_column(f"'{FROM_FILE}'")  # no parameter of a row
    condition = None if origin == FROM_API else is_of_file
    return insert.on_conflict_do_update(
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
    return dict(
        zip(EVENT_NAMES, _EVENT_VALUES(event), strict=True), event_id=event.event_id or None
    )
