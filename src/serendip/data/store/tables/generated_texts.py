"""Generated item texts (document expansion by an LLM), each with its provenance.

The catalogue's own columns are never changed: a generated text is a row of a separate table. It
is used only while it is active, which the enrichment gate decides, and only if its item still
reads as it did when the text was generated. Without rows everything works as if there were no
such table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from serendip.data.items.catalogue import Item
from serendip.data.store.validation import text_problem
from serendip.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from serendip.data.store.database import Database

WrittenField: TypeAlias = Literal["keywords", "description", "attributes", "queries"]
WrittenSource: TypeAlias = Literal["llm", "queries"]

GENERATED_SOURCES: tuple[WrittenSource, ...] = ("llm", "queries")
"""An LLM that describes thin items, and the queries that an LLM wrote for items."""


@dataclass(frozen=True, slots=True, order=True)
class GeneratedText:
    """One generated text about one item.

    Args:
        item_id: the item.
        field: kind of text.
        source: kind of generator.
        text: the content.
        model: name of the generator.
        prompt: name and version of the prompt.
        digest: hash of the item text it was generated from (``text_digest``).
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
    """The table of generated texts of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store.tables import generated_texts_sql

        self._database, self._sql = database, generated_texts_sql
        self._upsert = generated_texts_sql.upsert(database.dialect)

    def all(self) -> list[GeneratedText]:
        """Every text, ordered by item, field and source."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.ALL).all()
        return [GeneratedText(*row) for row in rows]

    def active(self) -> list[GeneratedText]:
        """The texts in use, in the same order."""
        return [text for text in self.all() if text.active]

    def put(self, texts: Sequence[GeneratedText], replaced: WrittenSource | None = None) -> None:
        """Add texts, or replace those of the same item, field and source.

        A replaced text becomes inactive; an unchanged one keeps its state. Those of items that were
        erased meanwhile are left out.

        Args:
            texts: to store.
            replaced: source of which no other texts are kept; None = all are kept.

        Raises:
            DataError: a text has characters that cannot be stored; none is stored.
        """
        for one in texts:
            if problem := text_problem(one.text):
                raise DataError(
                    f"a text about item {one.item_id!r} cannot be stored: it {problem}."
                )
        rows = [asdict(replace(text, active=False)) for text in texts]
        kept = {(text.item_id, text.field, text.source) for text in texts}
        with self._database.write() as connection:
            keys = connection.execute(self._sql.KEYS_OF_SOURCE, {"of": replaced}).all()
            if gone := [tuple(key) for key in keys if tuple(key) not in kept]:
                names = ("old_item_id", "old_field", "old_source")
                connection.execute(
                    self._sql.REMOVE_TEXT, [dict(zip(names, key, strict=True)) for key in gone]
                )
            if rows:
                connection.execute(self._upsert, rows)
                connection.execute(self._sql.REMOVE_OF_ERASED)

    def activate(self, texts: Iterable[GeneratedText]) -> int:
        """Make exactly these texts active; one that has been replaced meanwhile is skipped.

        Returns:
            number of active texts.
        """
        rows = [_match_values(text) for text in texts]
        with self._database.write() as connection:
            connection.execute(self._sql.DEACTIVATE)
            if rows:
                connection.execute(self._sql.ACTIVATE, rows)
            return int(connection.scalar(self._sql.COUNT_ACTIVE) or 0)

    def remove_of(self, connection: Connection, item_id: str) -> None:
        """Delete the texts of an item, within a write transaction."""
        connection.execute(self._sql.REMOVE_OF_ITEM, {"item": item_id})

    def remove_all(self) -> int:
        """Delete every text and return their number."""
        with self._database.write() as connection:
            return int(connection.execute(self._sql.REMOVE).rowcount)


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


def fresh(items: Iterable[Item], texts: Iterable[GeneratedText]) -> list[GeneratedText]:
    """Select the texts whose items have not changed since they were generated."""
    digests = {item.item_id: text_digest(item) for item in items}
    return [text for text in texts if digests.get(text.item_id) == text.digest]


def with_generated(items: Sequence[Item], texts: Sequence[GeneratedText]) -> Sequence[Item]:
    """Add their fresh generated texts to the items; without texts, return the same items."""
    if not texts:
        return items
    item_ids = {text.item_id for text in texts}
    sentences: dict[str, list[str]] = {}  # item_id -> its texts
    for text in sorted(fresh((item for item in items if item.item_id in item_ids), texts)):
        sentences.setdefault(text.item_id, []).append(text.text.rstrip("."))
    return [
        replace(item, generated_text=". ".join(sentences[item.item_id]))
        if item.item_id in sentences
        else item
        for item in items
    ]


def without_generated(items: Iterable[Item]) -> list[Item]:
    """Remove generated texts: the items as the catalogue has them."""
    return [replace(item, generated_text="") if item.generated_text else item for item in items]


def _match_values(text: GeneratedText) -> dict[str, Any]:
    """Parameters of ``ACTIVATE``: every column, so that only this exact text matches."""
    return {f"judged_{name}": value for name, value in asdict(text).items() if name != "active"}
