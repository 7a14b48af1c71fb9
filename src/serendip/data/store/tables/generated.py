"""What an LLM, or a rule, wrote about items: texts, values of attributes and queries.

The catalogue's own columns are never changed: what is written is a row of this table. It is used
only while it is active, which a gate decides. Without rows everything works as if there were no
such table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, bindparam, false, select, true

from serendip.data.store.schema import BLANK_ITEMS, GENERATED
from serendip.data.store.upsert import upsert
from serendip.data.store.validation import text_problem
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.store.base import Database

Kind: TypeAlias = Literal["text", "value", "query"]
Source: TypeAlias = Literal["llm", "queries", "rules"]

_COLUMNS = [column for column in GENERATED.c if column.name != "active"]
_KEYS = list(GENERATED.primary_key)
_SAME = [column == bindparam(f"same_{column.name}") for column in _COLUMNS]


@dataclass(frozen=True, slots=True, order=True)
class Generated:
    """One row.

    Args:
        kind: of what was written.
        item_id: the item that it is about.
        name: kind of text (``keywords``), attribute, or the query in normal form.
        source: an LLM, the queries that one wrote, or rules.
        value: what was written.
        model: name of the generator.
        prompt: name and version of the prompt; for rules, their version.
        digest: hash of the item text it was written from (``text_digest``); "" = it is used
            whatever the item's text becomes.
        active: whether it is used.
    """

    kind: Kind
    item_id: str
    name: str
    source: Source
    value: str
    model: str
    prompt: str
    digest: str = ""
    active: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key."""
        return self.kind, self.item_id, self.name, self.source


class GeneratedTable:
    """The table of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, kind: Kind | None = None, name: str | None = None) -> list[Generated]:
        """Rows of a kind and name, ordered by their key; None = of all."""
        statement = select(GENERATED).where(*_of(kind, name)).order_by(*_KEYS)
        with self._database.read() as connection:
            return [Generated(*row) for row in connection.execute(statement)]

    def active(self, kind: Kind | None = None, name: str | None = None) -> list[Generated]:
        """The rows in use, in the same order."""
        return [row for row in self.rows(kind, name) if row.active]

    def put(
        self,
        rows: Sequence[Generated],
        replaced: Sequence[Generated] = (),
        unanswered: Collection[str] = (),
    ) -> None:
        """Add rows, or replace those of the same key.

        A replaced row becomes inactive; an unchanged one keeps its state. Those of items that were
        erased meanwhile are left out.

        Args:
            rows: to store.
            replaced: earlier rows, which are deleted unless a row has their key.
            unanswered: ids of items whose earlier rows stay.

        Raises:
            DataError: a row has characters that cannot be stored; none is stored.
        """
        for row in rows:
            if problem := text_problem(row.value):
                raise DataError(
                    f"a text about item {row.item_id!r} cannot be stored: it {problem}."
                )
        kept = {row.key for row in rows}
        gone = [row for row in replaced if row.key not in kept and row.item_id not in unanswered]
        with self._database.write() as connection:
            if gone:
                connection.execute(GENERATED.delete().where(*_SAME), list(map(_to_same, gone)))
            if rows:
                values = [asdict(replace(row, active=False)) for row in rows]
                upsert(connection, GENERATED, values, if_changed=[c.name for c in _COLUMNS[4:]])
                erased = GENERATED.c.item_id.in_(BLANK_ITEMS)
                connection.execute(GENERATED.delete().where(erased))

    def activate(
        self, rows: Iterable[Generated], kind: Kind | None = None, name: str | None = None
    ) -> None:
        """Make exactly these rows of a kind and name active; one replaced meanwhile is skipped."""
        values = list(map(_to_same, rows))
        with self._database.write() as connection:
            change = GENERATED.update().where(*_of(kind, name)).values(active=false())
            connection.execute(change)
            if values:
                connection.execute(GENERATED.update().values(active=true()).where(*_SAME), values)

    def remove(self, kind: Kind | None = None, name: str | None = None) -> int:
        """Delete the rows of a kind and name, and return their number."""
        with self._database.write() as connection:
            return int(connection.execute(GENERATED.delete().where(*_of(kind, name))).rowcount)

    def remove_item(self, connection: Connection, item_id: str) -> None:
        """Delete what was written about an item, within a write transaction."""
        connection.execute(GENERATED.delete().where(GENERATED.c.item_id == item_id))


def _of(kind: Kind | None, name: str | None) -> list[ColumnElement[bool]]:
    named = (GENERATED.c.kind, kind), (GENERATED.c.name, name)
    return [column == value for column, value in named if value is not None]


def _to_same(row: Generated) -> dict[str, object]:
    return {f"same_{name}": value for name, value in asdict(row).items() if name != "active"}
