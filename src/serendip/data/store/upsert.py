"""INSERT with ON CONFLICT, which SQLAlchemy has per dialect, in the same words for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def insert_into(dialect: str, table: Table) -> Insert:
    """An INSERT that takes ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_many(dialect: str, table: Table, names: Sequence[str]) -> Insert:
    """An INSERT of many rows, which ``to_values`` passes to it.

    A server takes all rows as one array per column: one statement, whatever their number.
    """
    insert = insert_into(dialect, table)
    if dialect != "postgresql":
        return insert
    arrays = [
        bindparam(name, type_=postgresql.ARRAY(table.c[name].type, dimensions=1)) for name in names
    ]
    rows = func.unnest(*arrays).table_valued(*names).render_derived()
    return insert.from_select(names, select(rows))


def to_values(dialect: str, rows: Sequence[dict[str, Any]]) -> Any:
    """Rows of equal keys as parameters of ``insert_many``."""
    if dialect != "postgresql":
        return rows
    return {name: [row[name] for row in rows] for name in rows[0]}
