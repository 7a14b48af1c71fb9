"""What was written about items stands beside the catalogue; only active, fresh rows are used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serendip.data import ActionRules, Item
from serendip.data.snapshot import take_snapshot
from serendip.data.store.store import Store
from serendip.data.store.tables.generated import (
    Generated,
    fresh,
    keep_generated,
    lacks,
    text_digest,
    with_generated,
    without_generated,
)
from serendip.errors import DataError

SHIRT = Item("a", "Red shirt", attributes={"size": "M", "tags": ("summer",), "colour": ""})
SHOE = Item("b", "Blue shoe", attributes={"colour": "Blue"})
BARE = Item("c", "Red hat")


@pytest.fixture
def store(store: Store) -> Store:
    store.put_items([SHIRT, SHOE, BARE])
    return store


def text(item: Item, words: str, name: str = "keywords") -> Generated:
    return Generated("text", item.item_id, name, "llm", words, "m", "p-1", text_digest(item))


def value(item: Item, words: str, name: str = "colour") -> Generated:
    return Generated("value", item.item_id, name, "rules", words, "m", "r-1", text_digest(item))


def use(store: Store, rows: list[Generated]) -> None:
    store.generated.put(rows)
    store.generated.activate(rows)


def items_of(store: Store) -> list[Item]:
    return list(take_snapshot(store, ActionRules()).catalogue.items)


def test_a_digest_changes_with_words_and_not_with_prices() -> None:
    lamp = Item("a", "Lamp", "Gives light", {"kind": ("Home", "Light"), "price": 12.5})
    same = replace(lamp, attributes={**lamp.attributes, "price": 1.0}, available_from=5.0)
    assert text_digest(same) == text_digest(replace(lamp, generated_text="x")) == text_digest(lamp)
    for changed in (
        replace(lamp, title="Lamps"),
        replace(lamp, description=""),
        replace(lamp, attributes={"kind": ("Home",), "price": 12.5}),
    ):
        assert text_digest(changed) != text_digest(lamp)


def test_active_rows_fill_what_items_lack_and_the_catalogue_stays(store: Store) -> None:
    colours = [value(SHIRT, "Red"), value(SHOE, "Red"), value(BARE, "Red")]
    tags = [value(BARE, "summer", "tags")]
    texts = [text(SHOE, "trainer"), text(SHOE, "A shoe to run in.", "description")]
    query = Generated("query", "c", "a red cap", "llm", "a red cap", "m", "q-1")
    store.generated.put([*colours, *tags, *texts, query])
    assert items_of(store) == store.items() == [SHIRT, SHOE, BARE]
    store.generated.activate(colours, "value", "colour")
    store.generated.activate([*tags, *texts, query])
    assert store.generated.active("value", "colour") == []  # All other rows, too, are inactive now.
    store.generated.activate([*colours, *tags, *texts, query])
    shirt, shoe, bare = items_of(store)
    assert shirt.attributes == {"size": "M", "tags": ("summer",), "colour": "Red"}
    assert shirt.generated_attributes == ("colour",)
    # It has a colour of its own.
    assert shoe == replace(SHOE, generated_text="A shoe to run in. trainer")
    assert bare.attributes == {"colour": "Red", "tags": ("summer",)}  # a list, as others have it
    assert bare.generated_attributes == ("colour", "tags")
    assert store.items() == [SHIRT, SHOE, BARE]
    for own, filled in ((SHIRT, shirt), (SHOE, shoe), (BARE, bare)):
        assert text_digest(filled) == text_digest(own)
        (plain,) = without_generated([filled])
        assert all(lacks(plain, name) for name in filled.generated_attributes)
    assert without_generated([shoe, bare]) == [SHOE, BARE]
    store.generated.activate([], "value", "colour")
    assert items_of(store)[0] == SHIRT
    assert (store.generated.remove("value", "tags"), store.generated.remove()) == (1, 6)
    assert items_of(store) == [SHIRT, SHOE, BARE]


def test_what_was_written_about_items_that_changed_is_left_out(store: Store) -> None:
    rows = [text(SHOE, "trainer"), value(BARE, "Red")]
    query = Generated("query", "c", "cap", "llm", "cap", "m", "q-1")
    use(store, [*rows, query])
    for changed in (
        replace(BARE, title="Green hat"),
        replace(BARE, attributes={"colour": "Green"}),
    ):
        store.put_items([changed])
        assert items_of(store)[1:] == [replace(SHOE, generated_text="trainer"), changed]
        assert fresh(store.items(), [*rows, query]) == [rows[0], query]
    store.put_items([BARE])
    assert items_of(store)[2].attributes == {"colour": "Red"}
    store.delete_item("b")
    assert [item.item_id for item in items_of(store)] == ["a", "c"]


def test_a_changed_row_is_not_active_and_an_equal_one_stays_so(store: Store) -> None:
    first, sizes = [value(SHIRT, "Red"), value(BARE, "Red")], [value(BARE, "L", "size")]
    use(store, [*first, *sizes])
    again = [value(SHIRT, "Pink"), value(BARE, "Red")]
    store.generated.put(again, replaced=store.generated.rows("value", "colour"))
    assert store.generated.rows("value", "colour") == [again[0], replace(first[1], active=True)]
    # What was judged is not there any more, and what is there was not judged.
    store.generated.activate(first, "value", "colour")
    assert [row.item_id for row in store.generated.active("value", "colour")] == ["c"]
    stored = store.generated.rows("value", "colour")
    store.generated.put([], replaced=stored, unanswered=["c"])
    assert [row.item_id for row in store.generated.rows("value", "colour")] == ["c"]
    store.generated.put([], replaced=stored)
    assert store.generated.rows() == [replace(sizes[0], active=True)]


def test_what_was_generated_stays_with_an_item_while_its_texts_are_the_same() -> None:
    (served,) = with_generated([BARE], [value(BARE, "Red"), text(BARE, "cap")])
    cheaper = replace(BARE, attributes={"price": 1.0}, available_from=5.0)
    kept = keep_generated(cheaper, served)
    assert kept == replace(
        cheaper,
        attributes={"price": 1.0, "colour": "Red"},
        generated_attributes=("colour",),
        generated_text="cap",
    )
    for changed in (replace(BARE, title="Blue hat"), replace(BARE, attributes={"colour": "Blue"})):
        assert keep_generated(changed, served) is changed
    assert keep_generated(cheaper, BARE) == cheaper


def test_rows_of_an_erased_item_go_and_do_not_come_back(store: Store) -> None:
    rows = [value(BARE, "Red"), value(SHIRT, "Red"), text(BARE, "cap")]
    store.generated.put(rows)
    store.erase_item("c")
    assert [row.item_id for row in store.generated.rows()] == ["a"]
    store.generated.put(rows)
    assert [row.item_id for row in store.generated.rows()] == ["a"]


def test_a_text_that_cannot_be_stored_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="text about item 'c' cannot be stored: it contains a NUL"):
        store.generated.put([value(SHIRT, "Red"), text(BARE, "ca\0p")])
    assert store.generated.rows() == []
