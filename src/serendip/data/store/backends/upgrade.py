"""Adds to a database of an earlier version the tables and columns that it lacks.

Both are marked in the schema (``ADDED_LATER``); a column has a default, so that no row is written
again. Nothing else is ever changed: a database that differs otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serendip.data.store.schema import ADDED_LATER

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, MetaData, Table


def lacks_later_parts(existing: Mapping[str, set[str]], tables: MetaData) -> bool:
    """Whether it has all tables of the first version and lacks something that was added later.

    Args:
        existing: name of each table -> names of its columns.
        tables: of this version.
    """
    first = {name for name, table in tables.tables.items() if not _is_later(table.info)}
    return first <= existing.keys() and any(_missing(existing, tables))


def add_later_parts(
    connection: Connection, tables: MetaData, existing: Mapping[str, set[str]]
) -> None:
    """Add what is missing, within a write transaction; another process may have been first."""
    from sqlalchemy.schema import CreateColumn

    new_tables, new_columns = _missing(existing, tables)
    tables.create_all(connection, tables=new_tables)
    for table, column in new_columns:
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")


def _missing(
    existing: Mapping[str, set[str]], tables: MetaData
) -> tuple[list[Table], list[tuple[Table, Column[Any]]]]:
    """The tables and the columns to add."""
    later = [table for table in tables.tables.values() if _is_later(table.info)]
    columns = [
        (table, column)
        for name, table in tables.tables.items()
        for column in table.columns
        if _is_later(column.info) and name in existing and column.name not in existing[name]
    ]
    return [table for table in later if table.name not in existing], columns


def _is_later(info: Mapping[Any, Any]) -> bool:
    return bool(ADDED_LATER.items() <= info.items())
