"""Texts that a machine wrote about items: beside the catalogue, each with where it comes from.

The catalogue's own columns are never touched: a text is a row of a table of its own. It is used
only while it is active, which a gate decides, and only for an item that reads as it did when the
text was written. Without rows everything is as if there were no such table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from serendip.data.item import Item

if TYPE_CHECKING:
    from serendip.data.store.database import Database

WrittenField: TypeAlias = Literal["keywords", "description", "attributes"]
WrittenSource: TypeAlias = Literal["llm", "rules"]

WRITTEN_FIELDS: tuple[WrittenField, ...] = ("keywords", "description", "attributes")
WRITTEN_SOURCES: tuple[WrittenSource, ...] = ("llm", "rules")


@dataclass(frozen=True, slots=True, order=True)
class GeneratedText:
    """One text about one item.

    Args:
        item_id: which item.
        field: what kind of text.
        source: what kind of writer.
        text: what it says.
        model: name of the writer.
        prompt: what it was asked by, name with version; of rules their version.
        digest: of the item's text that it was made from.
        active: whether it is used.
    """

    item_id: str
    field: WrittenField
    source: WrittenSource
    text: str
    model: str
    prompt: str
    digest: str
    active: bool = False


class GeneratedTexts:
    """The table of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store import generated_texts_sql

        self._database, self._sql = database, generated_texts_sql
        self._upsert = generated_texts_sql.upsert(database.dialect)

    def all(self) -> list[GeneratedText]:
        """Every text, by item, field and source."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.ALL).all()
        return [GeneratedText(*row) for row in rows]

    def active(self) -> list[GeneratedText]:
        """Those that are used, in the same order."""
        return [one for one in self.all() if one.active]

    def put(self, texts: Iterable[GeneratedText]) -> None:
        """Add texts, or replace those of the same item, field and source.

        A replaced text is not active any more; one that comes again unchanged stays as it is.
        """
        rows = [asdict(replace(one, active=False)) for one in texts]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._upsert, rows)

    def activate(self, texts: Iterable[GeneratedText]) -> int:
        """Use these texts and no other; one that was replaced meanwhile is left out.

        Returns:
            number of texts in use.
        """
        rows = [_to_the_letter(one) for one in texts]
        with self._database.write() as connection:
            connection.execute(self._sql.DEACTIVATE)
            if rows:
                connection.execute(self._sql.ACTIVATE, rows)
            return int(connection.scalar(self._sql.COUNT_ACTIVE) or 0)

    def remove_all(self) -> int:
        """Take out every text; the number of them."""
        with self._database.write() as connection:
            return int(connection.execute(self._sql.REMOVE).rowcount)


def text_digest(item: Item) -> str:
    """Changes with every word of an item; numbers, as a price, are none."""
    words = {name: one for name, one in item.attributes.items() if not isinstance(one, float)}
    told = json.dumps([item.title, item.description, words], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def fresh(items: Iterable[Item], texts: Iterable[GeneratedText]) -> list[GeneratedText]:
    """Texts about items that read as they did when these were written."""
    digests = {item.item_id: text_digest(item) for item in items}
    return [one for one in texts if digests.get(one.item_id) == one.digest]


def with_generated(items: Sequence[Item], texts: Sequence[GeneratedText]) -> Sequence[Item]:
    """Items that carry their texts, as far as these are fresh; the same items where none is."""
    if not texts:
        return items
    about = {one.item_id for one in texts}
    found: dict[str, list[str]] = {}
    for one in sorted(fresh((item for item in items if item.item_id in about), texts)):
        found.setdefault(one.item_id, []).append(one.text.rstrip("."))
    return [
        replace(item, written=". ".join(found[item.item_id])) if item.item_id in found else item
        for item in items
    ]


def without_generated(items: Iterable[Item]) -> list[Item]:
    """The items as the catalogue has them."""
    return [replace(item, written="") if item.written else item for item in items]


def _to_the_letter(text: GeneratedText) -> dict[str, Any]:
    """Values that say which text is meant, to the letter."""
    return {f"judged_{name}": value for name, value in asdict(text).items() if name != "active"}
