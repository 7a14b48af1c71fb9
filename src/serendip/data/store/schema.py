"""Database schema of the store: tables, and the statements that several modules use.

``items`` keeps a deleted item as a tombstone with a new version, so that incremental readers see
the deletion. ``origin`` says who wrote a row last, ``file`` or ``api``: an import replaces only
rows that came from files. ``events`` is the tail of the event log: what the API appended since
events were packed last. ``pack_rows`` has one row for each user of a pack (``event_log.packs``),
``packs`` names the packs that count, ``pack_names`` has what the events of a pack share.
``generated_rows`` has what an LLM or a rule wrote about items, ``llm_calls`` every request to an
LLM. ``erased_users`` knows by digests who was erased. ``rules`` has every change of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

from serendip.data.events.event import EVENT_COLUMNS, EVENT_REQUIRED, Event, NumberColumn
from serendip.data.items.catalogue import Item
from serendip.data.store.event_log.packs import BLOBS
from serendip.data.store.item_rows import ITEM_NAMES, item_values

Insert: TypeAlias = sqlite.Insert | postgresql.Insert
Order: TypeAlias = Callable[[Mapping[str, Any]], Any]
FROM_FILE: Final = "file"
FROM_API: Final = "api"

METADATA = sa.MetaData()
# Compares by its bytes: the same order on both.
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def name_type(length: int) -> TypeEngine[str]:
    """A text of few characters that compares by its bytes."""
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _table(name: str, *columns: sa.Column[Any], **options: Any) -> sa.Table:
    return sa.Table(name, METADATA, *columns, **options)


_key = partial(sa.Column, primary_key=True)


def _columns(kind: Any, *names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _event_column(name: str) -> sa.Column[Any]:
    if name == "event_id":
        return sa.Column(name, TEXT, nullable=True, unique=True)
    column = EVENT_COLUMNS[name]
    if isinstance(column, NumberColumn):
        kind = sa.Integer if column.dtype == "int32" else sa.Double
        return sa.Column(name, kind, nullable=name not in EVENT_REQUIRED)
    default = None if name in EVENT_REQUIRED else ""
    return sa.Column(name, TEXT, nullable=False, server_default=default)


# SQLite auto-increments only a column of exactly this type.
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")

ITEMS = _table(
    "items",
    _key("item_id", TEXT),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("version", sa.BigInteger, nullable=False, unique=True),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("origin", name_type(8), nullable=False),
    *_columns(TEXT, "title", "description", "attributes"),
    *_columns(sa.Double, "available_from", nullable=True),
)

EVENTS = _table(
    "events",
    sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    *map(_event_column, EVENT_COLUMNS),
    sqlite_autoincrement=True,
)
sa.Index("events_of_user", EVENTS.c.user_id, EVENTS.c.timestamp, EVENTS.c.seq)

PACKS = _table(
    "packs",
    _key("pack", sa.BigInteger, autoincrement=False),
    sa.Column("origin", name_type(8), nullable=False),
    *_columns(sa.BigInteger, "first_seq", "last_seq", "events"),
    sa.Column("stale", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("fields", TEXT, nullable=False),
)

PACK_NAMES = _table(
    "pack_names",
    _key("pack", sa.BigInteger, autoincrement=False),
    _key("name", name_type(16)),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

PACK_ROWS = _table(
    "pack_rows",
    _key("pack", sa.BigInteger, autoincrement=False),
    _key("user_id", TEXT),
    *_columns(sa.BigInteger, "events", "last"),
    *_columns(sa.Double, "newest"),
    *_columns(sa.LargeBinary, "records"),
    *_columns(sa.LargeBinary, *BLOBS, nullable=True),
)
# Has what counting users needs, so that it reads no array.
sa.Index("packs_of_user", PACK_ROWS.c.user_id, PACK_ROWS.c.pack, PACK_ROWS.c.events)

GENERATED = _table(
    "generated_rows",
    _key("kind", name_type(8)),
    _key("item_id", TEXT),
    _key("name", TEXT),
    _key("source", name_type(8)),
    *_columns(TEXT, "value", "model", "prompt"),
    sa.Column("digest", name_type(64), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
)

LLM_CALLS = _table(
    "llm_calls",
    sa.Column("number", sa.Integer, primary_key=True),
    *_columns(TEXT, "job", "prompt"),
    sa.Column("prompt_digest", name_type(16), nullable=False),
    sa.Column("model", TEXT, nullable=False),
    sa.Column("data", name_type(64), nullable=False),
    sa.Column("state", name_type(8), nullable=False),
    *_columns(TEXT, "failure", "answer"),
    *_columns(sa.BigInteger, "sent", "answered", nullable=True),
    *_columns(sa.Double, "seconds", nullable=True),
    *_columns(sa.Double, "price", "sent_at"),
    sqlite_autoincrement=True,
)
sa.Index("llm_calls_of_job", LLM_CALLS.c.job)
sa.Index("llm_calls_about", LLM_CALLS.c.data)

USER_TABLE = _table(
    "users", _key("user_id", TEXT), *_columns(TEXT, "attributes"), *_columns(name_type(8), "origin")
)

KEY_TABLE = _table(
    "api_keys",
    _key("key_id", name_type(32)),
    *_columns(TEXT, "name", "scopes", "hash"),
    sa.Column("created", sa.Double, nullable=False),
    *_columns(sa.Double, "expires", "revoked", nullable=True),
)

ERASED_USERS = _table(
    "erased_users",
    _key("digest", name_type(64)),
    sa.Column("moment", sa.Double, nullable=False),
    sa.Column("removals", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

COPIES = _table(
    "copies",
    _key("kind", name_type(8)),
    _key("place", TEXT),
    *_columns(sa.BigInteger, "removals", "item_version"),
)

RULES = _table(
    "rules",
    _key("version", sa.BigInteger, autoincrement=False),
    sa.Column("changed", sa.Double, nullable=False),
    *_columns(TEXT, "rule_id", "rule"),
)
sa.Index("changes_of_rule", RULES.c.rule_id, RULES.c.version)

META = _table("meta", _key("key", name_type(64)), *_columns(TEXT, "value"))

_EVENT_VALUES = attrgetter(*EVENT_COLUMNS)

IMPORTED_ITEM_IDS = sa.select(ITEMS.c.item_id).where(
    sa.not_(ITEMS.c.deleted), ITEMS.c.origin == FROM_FILE
)
BLANK_ITEMS = sa.select(ITEMS.c.item_id).where(
    *(ITEMS.c.deleted, ITEMS.c.origin == FROM_API, ITEMS.c.title == ""),
    *(ITEMS.c.description == "", ITEMS.c.attributes == "{}"),
)
META_VALUE = sa.select(META.c.value).where(META.c.key == sa.bindparam("name"))


def insert_into(dialect: str, table: sa.Table, names: Sequence[str] = ()) -> Insert:
    """An INSERT that takes ``on_conflict_...``; with names of columns, for ``insert_rows``."""
    if dialect != "postgresql":
        insert = sqlite.insert(table)
        return insert.values({name: sa.bindparam(name) for name in names}) if names else insert
    if not names:
        return postgresql.insert(table)
    arrays = [
        sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type, dimensions=1))
        for name in names
    ]
    rows = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return postgresql.insert(table).from_select(list(names), sa.select(rows))


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    if_changed: Sequence[str] = (),
) -> None:
    """Insert whole rows, at least one, or replace those of their keys, where these have changed."""
    insert = insert_into(connection.dialect.name, table)
    new = insert.excluded
    changes = {column.name: new[column.name] for column in table.c if not column.primary_key}
    differs = [table.c[name].is_distinct_from(new[name]) for name in if_changed]
    condition = sa.or_(*differs) if differs else None
    upsert = insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=changes, where=condition
    )
    connection.execute(upsert, rows)


@lru_cache(maxsize=64)
def driver_form(statement: ClauseElement, dialect: sa.Dialect) -> tuple[str, Order]:
    """A statement for the driver, which is faster: its text, and what orders named values."""
    compiled: Any = statement.compile(dialect=dialect)
    if not compiled.positional:
        return compiled.string, dict
    places = list(compiled.positiontup)
    return compiled.string, lambda values: tuple([values[name] for name in places])


def insert_rows(
    connection: sa.Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert many rows; how many were new. A server takes them as one array per column."""
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        arrays = {name: [row[name] for row in rows] for name in rows[0]}
        counted = connection.execution_options(preserve_rowcount=True)
        return counted.execute(statement, arrays).rowcount
    text, order = driver_form(statement, connection.dialect)
    return connection.exec_driver_sql(text, list(map(order, rows))).rowcount


def upsert_items(dialect: str, origin: str) -> Insert:
    """Insert items, or replace and restore those of the same id; a file only what a file wrote."""
    insert = insert_into(dialect, ITEMS, ITEMS.c.keys())
    new = insert.excluded
    changes = {name: new[name] for name in ("version", "deleted", "origin", *ITEM_NAMES[1:])}
    is_of_file = ITEMS.c.origin == sa.literal_column(f"'{FROM_FILE}'")  # no parameter of a row
    condition = None if origin == FROM_API else is_of_file
    return insert.on_conflict_do_update(
        index_elements=[ITEMS.c.item_id], set_=changes, where=condition
    )


def insert_events(dialect: str) -> Insert:
    """Insert events; an event whose ``event_id`` is in the table is skipped."""
    insert = insert_into(dialect, EVENTS, tuple(EVENT_COLUMNS))
    return insert.on_conflict_do_nothing(index_elements=[EVENTS.c.event_id])


def read_meta(connection: sa.Connection, key: str) -> str:
    """The value of the meta table under a key; empty = there is none."""
    return str(connection.scalar(META_VALUE, {"name": key}) or "")


def set_meta(connection: sa.Connection, key: str, value: str) -> None:
    """Set a value of the meta table, under a key of at most 64 characters."""
    upsert(connection, META, [{"key": key, "value": value}])


def count_meta(connection: sa.Connection, key: str) -> int:
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
        zip(EVENT_COLUMNS, _EVENT_VALUES(event), strict=True), event_id=event.event_id or None
    )
