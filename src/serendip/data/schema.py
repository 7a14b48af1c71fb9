"""The tables of the store; they hold on SQLite and PostgreSQL alike.

``items`` keeps deleted items as tombstones: a later version of the same row says so to whoever
reads after a version. ``origin`` says who wrote a row last, ``file`` or ``api``: an import only
ever replaces rows of files. ``written_texts`` holds what machines wrote about items, apart from
what the catalogue says.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

Origin: TypeAlias = Literal["file", "api"]
FROM_FILE: Final = "file"
FROM_API: Final = "api"

METADATA = MetaData()
# SQLite numbers rows by itself only in a column of exactly this type.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

ITEMS = Table(
    "items",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False, unique=True),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("origin", String(8), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("available_from", Double, nullable=True),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=True, unique=True),
    Column("origin", String(8), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("action", Text, nullable=False),
    Column("value", Double, nullable=True),
    Column("query", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("position", Integer, nullable=True),
    Column("surface", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_of_user", EVENTS.c.user_id, EVENTS.c.timestamp, EVENTS.c.seq)

WRITTEN = Table(
    "written_texts",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("field", String(16), primary_key=True),
    Column("source", String(8), primary_key=True),
    Column("text", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("active", Boolean, nullable=False, server_default=false()),
)

META = Table(
    "meta",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
