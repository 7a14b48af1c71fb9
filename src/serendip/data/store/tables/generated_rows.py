"""What was generated about items, each row with its provenance: common to texts and values.

The catalogue's own columns are never changed: what is generated is a row of a separate table. It is
used only while it is active, which a gate decides, and only if its item still reads as it did when
the row was generated. Without rows everything works as if there were no such table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, bindparam, false, select, true

from serendip.data.store.schema import BLANK_ITEMS
from serendip.data.store.upsert import upsert
from serendip.data.store.validation import text_problem
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.store.base import Database


@dataclass(frozen=True, slots=True, order=True)
class GeneratedRow:
    """Base of the rows, whose fields are the columns of their table; the last one is ``active``."""

    item_id: str

    @property
    def content(self) -> str:
        """What was generated."""
        raise NotImplementedError


Row = TypeVar("Row", bound=GeneratedRow)


class GeneratedRows(Generic[Row]):
    """A table of rows that were generated, of one database."""

    _table: ClassVar[Table]
    _row: ClassVar[type[Any]]

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Row]:
        """Every row, ordered by its key."""
        with self._database.read() as connection:
            rows = connection.execute(select(self._table).order_by(*self._table.primary_key)).all()
        return [self._row(*row) for row in rows]

    def active(self) -> list[Row]:
        """The rows in use, in the same order."""
        return [row for row in self.all() if row.active]  # type: ignore[attr-defined]

    def remove_of(self, connection: Connection, item_id: str) -> None:
        """Delete what was generated about an item, within a write transaction."""
        connection.execute(self._table.delete().where(self._table.c.item_id == item_id))

    def remove_all(self) -> int:
        """Delete every row and return their number."""
        with self._database.write() as connection:
            return int(connection.execute(self._table.delete()).rowcount)

    def _put(
        self,
        rows: Sequence[Row],
        scope: ColumnElement[bool],
        is_kept: Callable[[tuple[Any, ...]], bool],
    ) -> None:
        """Add rows or replace those of the same keys, and delete others of a scope.

        A replaced row becomes inactive; an unchanged one keeps its state. Those of items that were
        erased meanwhile are left out.

        Args:
            rows: to store.
            scope: of which all other rows are deleted whose keys ``is_kept`` does not keep.
            is_kept: called with the key of a row.

        Raises:
            DataError: a row has characters that cannot be stored; none is stored.
        """
        for row in rows:
            if problem := text_problem(row.content):
                raise DataError(
                    f"a text about item {row.item_id!r} cannot be stored: it {problem}."
                )
        keys = list(self._table.primary_key)
        unkeyed = [column.name for column in self._table.c if not column.primary_key]
        with self._database.write() as connection:
            present = connection.execute(select(*keys).where(scope)).all()
            if gone := [key._asdict() for key in present if not is_kept(tuple(key))]:
                self._match(connection, gone, keys, None)
            if rows:
                values = [asdict(replace(row, active=False)) for row in rows]  # type: ignore[call-arg]
                upsert(connection, self._table, values, if_changed=unkeyed[:-1])
                erased = self._table.c.item_id.in_(BLANK_ITEMS)
                connection.execute(self._table.delete().where(erased))

    def _activate(self, rows: Iterable[Row], scope: ColumnElement[bool]) -> None:
        """Make exactly these rows of a scope active; one replaced meanwhile is skipped."""
        values = [asdict(row) for row in rows]
        with self._database.write() as connection:
            connection.execute(self._table.update().where(scope).values(active=false()))
            if values:
                columns = [column for column in self._table.c if column.name != "active"]
                self._match(connection, values, columns, true())

    def _match(
        self,
        connection: Connection,
        rows: Sequence[dict[str, Any]],
        columns: Sequence[Any],
        active: ColumnElement[bool] | None,
    ) -> None:
        """Delete, or make active, the rows that have the same values in some columns."""
        same = [column == bindparam(f"same_{column.name}") for column in columns]
        table = self._table
        change = table.delete() if active is None else table.update().values(active=active)
        names = [column.name for column in columns]
        values = [{f"same_{name}": row[name] for name in names} for row in rows]
        connection.execute(change.where(*same), values)
