"""INSERT with ON CONFLICT, which SQLAlchemy has per dialect, in the same words for both."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def insert_into(dialect: str, table: Table) -> Insert:
    """An INSERT that takes ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


class ManyRows:
    """An INSERT of many rows into a table, which skips those that collide.

    The driver's own way: SQLAlchemy takes four times as long per row. A server takes all rows as
    one array per column: one statement, whatever their number.

    Args:
        dialect: of the database.
        table: to insert into.
        names: of its columns that the rows have.
        unique: column of which a row that is there already keeps another one out.

    Attributes:
        statement: the INSERT.
    """

    def __init__(self, dialect: str, table: Table, names: Sequence[str], unique: str) -> None:
        insert = insert_into(dialect, table)
        self._names = names
        if dialect == "postgresql":
            array = postgresql.ARRAY
            arrays = [
                bindparam(name, type_=array(table.c[name].type, dimensions=1)) for name in names
            ]
            rows = func.unnest(*arrays).table_valued(*names).render_derived()
            insert = insert.from_select(names, select(rows))
        self.statement = insert.on_conflict_do_nothing(index_elements=[table.c[unique]])
        self._text, self._places = "", list[str]()
        if dialect == "sqlite":
            compiled = self.statement.compile(dialect=sqlite.dialect(), column_keys=list(names))
            self._text, self._places = compiled.string, list(compiled.positiontup or ())

    def run(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Insert rows; how many were new."""
        if self._text:
            values = list(map(itemgetter(*self._places), rows))
            return connection.exec_driver_sql(self._text, values).rowcount
        arrays = {name: [row[name] for row in rows] for name in self._names}
        counted = connection.execution_options(preserve_rowcount=True)
        return counted.execute(self.statement, arrays).rowcount


def insert_rows(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows that collide with none, the driver's own way.

    Args:
        connection: in a transaction.
        table: to insert into.
        names: of its columns that the rows have.
        rows: values in the order of the names.
    """
    insert = table.insert().compile(dialect=connection.dialect, column_keys=list(names))
    if insert.positional:
        connection.exec_driver_sql(insert.string, list(rows))
    else:
        by_name = [dict(zip(names, row, strict=True)) for row in rows]
        connection.exec_driver_sql(insert.string, by_name)
