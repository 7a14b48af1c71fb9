"""Generated item texts (document expansion by an LLM), each with its provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from sqlalchemy import true

from serendip.data.items.catalogue import Item
from serendip.data.store.schema import GENERATED_TEXTS
from serendip.data.store.tables.generated_rows import GeneratedRow, GeneratedRows

WrittenField: TypeAlias = Literal["keywords", "description", "attributes", "queries"]
WrittenSource: TypeAlias = Literal["llm", "queries"]

GENERATED_SOURCES: tuple[WrittenSource, ...] = ("llm", "queries")
"""An LLM that describes thin items, and the queries that an LLM wrote for items."""


@dataclass(frozen=True, slots=True, order=True)
class GeneratedText(GeneratedRow):
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

    field: WrittenField
    source: WrittenSource
    text: str
    model: str
    prompt: str
    digest: str
    active: bool = False

    @property
    def content(self) -> str:
        """The text."""
        return self.text


class GeneratedTexts(GeneratedRows[GeneratedText]):
    """The table of generated texts of one database."""

    _table, _row = GENERATED_TEXTS, GeneratedText

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
        kept = {(text.item_id, text.field, text.source) for text in texts}
        self._put(texts, GENERATED_TEXTS.c.source == (replaced or ""), kept.__contains__)

    def activate(self, texts: Iterable[GeneratedText]) -> int:
        """Make exactly these texts active; one that has been replaced meanwhile is skipped.

        Returns:
            number of active texts.
        """
        self._activate(texts, true())
        return len(self.active())


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
