"""Texts by machines stand beside the catalogue; only active and fresh ones are used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serendip.data.events.event import ActionRules
from serendip.data.items.catalogue import Item
from serendip.data.snapshot import take_snapshot
from serendip.data.store.store import Store
from serendip.data.store.tables.generated_texts import (
    GeneratedText,
    text_digest,
    with_generated,
    without_generated,
)
from serendip.errors import DataError

LAMP = Item("a", "Lamp", "Gives light", {"kind": ("Home", "Light"), "price": 12.5})
RUG = Item("b", "Rug")


@pytest.fixture
def store(store: Store) -> Store:
    store.put_items([LAMP, RUG])
    return store


def text(item: Item, words: str, field: str = "keywords", source: str = "rules") -> GeneratedText:
    return GeneratedText(item.item_id, field, source, words, "m", "p-1", text_digest(item))  # type: ignore[arg-type]


def items_of(store: Store) -> list[Item]:
    return list(take_snapshot(store, ActionRules()).catalogue.items)


def test_a_digest_changes_with_words_and_not_with_prices() -> None:
    same = replace(LAMP, attributes={**LAMP.attributes, "price": 1.0}, available_from=5.0)
    assert text_digest(same) == text_digest(LAMP)
    for changed in (
        replace(LAMP, title="Lamps"),
        replace(LAMP, description=""),
        replace(LAMP, attributes={"kind": ("Home",), "price": 12.5}),
    ):
        assert text_digest(changed) != text_digest(LAMP)
    assert text_digest(replace(LAMP, generated_text="x")) == text_digest(LAMP)


def test_texts_are_used_once_they_are_active_and_the_catalogue_stays(store: Store) -> None:
    texts = [text(LAMP, "lantern"), text(LAMP, "A lamp for reading.", "description", "llm")]
    store.generated_texts.put(texts)
    assert items_of(store) == store.items() == [LAMP, RUG]
    assert store.generated_texts.activate(texts[:1]) == 1
    assert items_of(store) == [replace(LAMP, generated_text="lantern"), RUG]
    assert store.generated_texts.activate(texts) == 2
    lamp = items_of(store)[0]
    assert lamp.generated_text == "A lamp for reading. lantern"
    assert store.items() == [LAMP, RUG]
    assert without_generated([lamp]) == [LAMP]
    assert store.generated_texts.remove_all() == 2
    assert items_of(store) == [LAMP, RUG]


def test_texts_about_items_that_have_changed_are_left_out(store: Store) -> None:
    texts = [text(LAMP, "lantern"), text(RUG, "carpet")]
    store.generated_texts.put(texts)
    store.generated_texts.activate(texts)
    changed = replace(LAMP, title="Kettle")
    store.put_items([changed])
    assert items_of(store) == [changed, replace(RUG, generated_text="carpet")]
    store.put_items([LAMP])
    assert items_of(store)[0].generated_text == "lantern"
    store.delete_item("b")
    assert [item.item_id for item in items_of(store)] == ["a"]


def test_a_replaced_text_is_not_active_and_an_equal_one_stays_so(store: Store) -> None:
    first = [text(LAMP, "lantern"), text(RUG, "carpet")]
    store.generated_texts.put(first)
    store.generated_texts.activate(first)
    store.generated_texts.put([text(LAMP, "torch"), text(RUG, "carpet")])
    assert [(one.item_id, one.active) for one in store.generated_texts.all()] == [
        ("a", False),
        ("b", True),
    ]
    # What was judged is not there any more, and what is there was not judged.
    assert store.generated_texts.activate(first) == 1
    assert [one.item_id for one in store.generated_texts.active()] == ["b"]
    assert store.generated_texts.activate([]) == 0


def test_a_text_that_a_server_could_not_store_is_refused_by_both(store: Store) -> None:
    with pytest.raises(DataError, match="text about item 'a' cannot be stored: it contains a NUL"):
        store.generated_texts.put([text(RUG, "carpet"), text(LAMP, "lan\0tern")])
    assert store.generated_texts.all() == []


def test_without_texts_the_items_are_the_same_objects() -> None:
    items = [LAMP, RUG]
    assert with_generated(items, []) is items
