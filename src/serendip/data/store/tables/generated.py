"""What an LLM, or a rule, wrote about items: texts, values of attributes and queries.

The catalogue's own columns are never changed: what is written is a row of this table. It is used
only while it is active, which a gate decides. Without rows everything works as if there were no
such table.

A text or value is used only if its item still reads as it did when it was written. An item that has
a value of its own keeps it: some rows are of such items, whose value was hidden from the generator,
so that a gate can compare both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, bindparam, false, select, true

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
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
        name: kind of text (``keywords``), attribute, or the query in normal form.
        prompt: name and version of the prompt; for rules, their version.
        digest: hash of the item text it was written from (``text_digest``); "" = it is used
            whatever the item's text becomes.
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
            rows: new or changed ones.
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


def text_digest(item: Item) -> str:
    """Hash of an item's title, description and text attributes.

    Numbers (a price), empty values and generated ones do not count.
    """
    attributes = {
        name: value
        for name, value in item.attributes.items()
        if value not in ("", ())
        and not isinstance(value, float)
        and name not in item.generated_attributes
    }
    content = json.dumps([item.title, item.description, attributes], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def fresh(items: Iterable[Item], rows: Iterable[Generated]) -> list[Generated]:
    """Select the rows whose items have not changed since they were written."""
    digests = {item.item_id: text_digest(item) for item in items}
    return [
        row for row in rows if row.item_id in digests and row.digest in ("", digests[row.item_id])
    ]


def with_generated(items: Sequence[Item], rows: Sequence[Generated]) -> Sequence[Item]:
    """Add fresh texts and values to the items; without any, return the same items.

    An attribute that is a list in the catalogue gets a list of one.
    """
    if not rows:
        return items
    ids = {row.item_id for row in rows}
    by_item: dict[str, list[Generated]] = {}
    for row in sorted(fresh((item for item in items if item.item_id in ids), rows)):
        by_item.setdefault(row.item_id, []).append(row)
    listed = _find_listed(items, {row.name for row in rows if row.kind == "value"})
    return [
        _fill(item, by_item[item.item_id], listed) if item.item_id in by_item else item
        for item in items
    ]


def _find_listed(items: Iterable[Item], names: set[str]) -> set[str]:
    listed, left = set[str](), set(names)
    for item in items:
        for name in left & item.attributes.keys():
            left.remove(name)
            if isinstance(item.attributes[name], tuple):
                listed.add(name)
        if not left:
            break
    return listed


def _fill(item: Item, rows: Sequence[Generated], listed: set[str]) -> Item:
    texts = [row.value.rstrip(".") for row in rows if row.kind == "text"]
    added: dict[str, Attribute] = {
        row.name: (row.value,) if row.name in listed else row.value
        for row in rows
        if row.kind == "value" and lacks(item, row.name)
    }
    if not (texts or added):
        return item
    attributes = {**item.attributes, **added} if added else item.attributes
    return replace(
        item,
        generated_text=". ".join(texts),
        attributes=attributes,
        generated_attributes=tuple(added),
    )


def without_generated(items: Iterable[Item]) -> list[Item]:
    """Remove generated texts and values: the items as the catalogue has them.

    An attribute that was there and empty is not there any more.
    """
    return [
        replace(
            item,
            generated_text="",
            attributes={
                name: value
                for name, value in item.attributes.items()
                if name not in item.generated_attributes
            },
            generated_attributes=(),
        )
        if item.generated_text or item.generated_attributes
        else item
        for item in items
    ]


def keep_generated(item: Item, before: Item) -> Item:
    """What was generated for an item as it was before, if its texts are still the same."""
    generated = {name: before.attributes[name] for name in before.generated_attributes}
    if (not generated and not before.generated_text) or text_digest(item) != text_digest(before):
        return item
    return replace(
        item,
        attributes={**item.attributes, **generated},
        generated_attributes=before.generated_attributes,
        generated_text=before.generated_text,
    )


def lacks(item: Item, attribute: str) -> bool:
    """Whether an item has no value of an attribute, or an empty one."""
    return item.attributes.get(attribute, "") in ("", ())


def list_values(item: Item, attribute: str) -> tuple[str, ...]:
    """The values of an attribute: none, one, or those of a list."""
    value = item.attributes.get(attribute, ())
    values = value if isinstance(value, tuple) else (str(value),)
    return tuple(text for text in values if text)
