"""INSERT with ON CONFLICT, which SQLAlchemy has per dialect, in the same words for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Table, bindparam, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

Insert: TypeAlias = sqlite.Insert | postgresql.Insert
Order: TypeAlias = Callable[[Mapping[str, Any]], Any]


def insert_into(dialect: str, table: Table, names: Sequence[str] = ()) -> Insert:
    """An INSERT that takes ``on_conflict_do_update`` and ``on_conflict_do_nothing``.

    ``names`` are the columns of the rows of ``insert_rows``; empty = of the rows that are executed.
    """
    if dialect != "postgresql":
        insert = sqlite.insert(table)
        return insert.values({name: bindparam(name) for name in names}) if names else insert
    if not names:
        return postgresql.insert(table)
    arrays = [
        bindparam(name, type_=postgresql.ARRAY(table.c[name].type, dimensions=1)) for name in names
    ]
    rows = func.unnest(*arrays).table_valued(*names).render_derived()
    return postgresql.insert(table).from_select(list(names), select(rows))


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    if_changed: Sequence[str] = (),
) -> None:
    """Insert rows, at least one and with all columns, or replace those of the same primary key.

    A row is left as it is unless one of the columns ``if_changed`` differs.
    """
    insert = insert_into(connection.dialect.name, table)
    new = insert.excluded
    changes = {column.name: new[column.name] for column in table.c if not column.primary_key}
    differs = [table.c[name].is_distinct_from(new[name]) for name in if_changed]
    condition = or_(*differs) if differs else None
    upsert = insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=changes, where=condition
    )
    connection.execute(upsert, rows)


@lru_cache(maxsize=64)
def driver_form(statement: ClauseElement, dialect: Dialect) -> tuple[str, Order]:
    """A statement as the driver takes it: its text, and what orders values by name for it.

    SQLAlchemy takes some times as long for each row and each small statement.
    """
    compiled: Any = statement.compile(dialect=dialect)
    if not compiled.positional:
        return compiled.string, dict
    places = list(compiled.positiontup)
    return compiled.string, lambda values: tuple([values[name] for name in places])


def insert_rows(
    connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert many rows; how many were new.

    A server takes all of them, at least one, as one array per column: one statement.
    """
    if connection.dialect.name == "postgresql":
        arrays = {name: [row[name] for row in rows] for name in rows[0]}
        counted = connection.execution_options(preserve_rowcount=True)
        return counted.execute(statement, arrays).rowcount
    text, order = driver_form(statement, connection.dialect)
    return connection.exec_driver_sql(text, list(map(order, rows))).rowcount
