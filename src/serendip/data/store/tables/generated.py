"""What an LLM, or a rule, wrote about items: texts, values of attributes and queries.

What is written is a row of this table, never a column of the catalogue. It is used only while it is
active, which a gate decides, and if its item still reads as it did when it was written. An item
that has a value of its own keeps it: some rows are of such items, whose value was hidden from the
generator, so that a gate can compare both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import ColumnElement, bindparam, false, select, true

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.store.schema import BLANK_ITEMS, GENERATED, upsert
from serendip.data.store.validation import text_problem
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.store.base import Database

Kind: TypeAlias = Literal["text", "value", "query"]
Source: TypeAlias = Literal["llm", "rules"]

_COLUMNS = [column for column in GENERATED.c if column.name != "active"]
_SAME = [column == bindparam(f"same_{column.name}") for column in _COLUMNS]


@dataclass(frozen=True, slots=True, order=True)
class Generated:
    """One row."""

    kind: Kind
    item_id: str
    name: str  # kind of text (``keywords``), attribute, or the query in normal form
    source: Source
    value: str
    model: str
    prompt: str  # name and version of the prompt; for rules, their version
    digest: str = ""  # ``text_digest`` of what it was written from; "" = used whatever that becomes
    active: bool = False


class GeneratedTable:
    """The table of one database; a kind or name of None means all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, kind: Kind | None = None, name: str | None = None) -> list[Generated]:
        """Rows of a kind and name, ordered by their key."""
        statement = select(GENERATED).where(*_of(kind, name)).order_by(*GENERATED.primary_key)
        return [Generated(*row) for row in self._database.rows(statement)]

    def active(self, kind: Kind | None = None, name: str | None = None) -> list[Generated]:
        """The rows in use, in the same order."""
        return [row for row in self.rows(kind, name) if row.active]

    def of_items(self) -> list[Generated]:
        """The texts and values in use, which items are read with."""
        return [*self.active("text"), *self.active("value")]

    def put(
        self,
        rows: Sequence[Generated],
        replaced: Sequence[Generated] = (),
        unanswered: Collection[str] = (),
    ) -> None:
        """Add rows, or replace those of the same key.

        A replaced row becomes inactive; an unchanged one keeps its state. Those of items that were
        erased meanwhile are left out. Characters that cannot be stored are a ``DataError``. Earlier
        rows that are ``replaced`` are deleted unless a row has their key, or their item is among
        the ``unanswered``.
        """
        for row in rows:
            if problem := text_problem(row.value):
                about = f"a text about item {row.item_id!r}"
                raise DataError(f"{about} cannot be stored: it {problem}.")
        kept = {_key(row) for row in rows}
        gone = [row for row in replaced if _key(row) not in kept and row.item_id not in unanswered]
        with self._database.write() as connection:
            if gone:
                connection.execute(GENERATED.delete().where(*_SAME), list(map(_to_same, gone)))
            if values := [asdict(replace(row, active=False)) for row in rows]:
                upsert(connection, GENERATED, values, if_changed=[c.name for c in _COLUMNS[4:]])
            erased = GENERATED.c.item_id.in_(BLANK_ITEMS)
            connection.execute(GENERATED.delete().where(erased))

    def activate(
        self, rows: Iterable[Generated], kind: Kind | None = None, name: str | None = None
    ) -> None:
        """Make exactly these rows of a kind and name active; one replaced meanwhile is skipped."""
        change = GENERATED.update()
        with self._database.write() as connection:
            connection.execute(change.where(*_of(kind, name)).values(active=false()))
            if values := list(map(_to_same, rows)):
                connection.execute(change.where(*_SAME).values(active=true()), values)

    def remove(self, kind: Kind | None = None, name: str | None = None) -> int:
        """Delete the rows of a kind and name, and return their number."""
        with self._database.write() as connection:
            return int(connection.execute(GENERATED.delete().where(*_of(kind, name))).rowcount)


def _key(row: Generated) -> tuple[str, ...]:
    return row.kind, row.item_id, row.name, row.source


def _of(kind: Kind | None, name: str | None) -> list[ColumnElement[bool]]:
    named = (GENERATED.c.kind, kind), (GENERATED.c.name, name)
    return [column == value for column, value in named if value is not None]


def _to_same(row: Generated) -> dict[str, object]:
    return {f"same_{name}": value for name, value in asdict(row).items() if name != "active"}


def text_digest(item: Item) -> str:
    """Hash of an item's texts: no numbers (a price), no empty values and no generated ones."""
    attributes = {
        name: value
        for name, value in _own(item).items()
        if value not in ("", ()) and not isinstance(value, float)
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
    """Add fresh texts and values to the items; one to a list if others have a list there."""
    ids = {row.item_id for row in rows}
    by_item: dict[str, list[Generated]] = {}
    for row in sorted(fresh((item for item in items if item.item_id in ids), rows)):
        by_item.setdefault(row.item_id, []).append(row)
    names = {row.name for row in rows if row.kind == "value"}
    listed = {
        name for item in items for name in names if isinstance(item.attributes.get(name), tuple)
    }
    return [_fill(item, by_item.get(item.item_id, ()), listed) for item in items]


def _fill(item: Item, rows: Sequence[Generated], listed: set[str]) -> Item:
    texts = [row.value.rstrip(".") for row in rows if row.kind == "text"]
    added: dict[str, Attribute] = {
        row.name: (row.value,) if row.name in listed else row.value
        for row in rows
        if row.kind == "value" and lacks(item, row.name)
    }
    if not (texts or added):
        return item
    attributes, names = {**item.attributes, **added}, tuple(added)
    text = ". ".join(texts)
    return replace(item, generated_text=text, attributes=attributes, generated_attributes=names)


def without_generated(items: Iterable[Item]) -> list[Item]:
    """Remove generated texts and values; an attribute that was there and empty is gone, too."""
    return [
        replace(item, generated_text="", attributes=_own(item), generated_attributes=())
        for item in items
    ]


def _own(item: Item) -> dict[str, Attribute]:
    generated = item.generated_attributes
    return {name: value for name, value in item.attributes.items() if name not in generated}


def keep_generated(item: Item, before: Item) -> Item:
    """What was generated for an item as it was before, if its texts are still the same."""
    if text_digest(item) != text_digest(before):
        return item
    generated = {name: before.attributes[name] for name in before.generated_attributes}
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
