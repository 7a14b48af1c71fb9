"""Generated values stand beside the catalogue; active ones fill what items lack, nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serendip.data.events.event import ActionRules
from serendip.data.items.catalogue import Item
from serendip.data.snapshot import take_snapshot
from serendip.data.store.store import Store
from serendip.data.store.tables.generated_texts import text_digest
from serendip.data.store.tables.generated_values import (
    GeneratedValue,
    fresh_values,
    keep_generated,
    lacks,
    list_values,
    with_values,
    without_values,
)
from serendip.errors import DataError

SHIRT = Item("a", "Red shirt", attributes={"size": "M", "tags": ("summer",), "colour": ""})
SHOE = Item("b", "Blue shoe", attributes={"colour": "Blue"})
BARE = Item("c", "Red hat")


@pytest.fixture
def store(store: Store) -> Store:
    store.put_items([SHIRT, SHOE, BARE])
    return store


def value(item: Item, text: str, attribute: str = "colour") -> GeneratedValue:
    return GeneratedValue(item.item_id, attribute, text, "rules", "m", "r-1", text_digest(item))


def items_of(store: Store) -> list[Item]:
    return list(take_snapshot(store, ActionRules()).catalogue.items)


def test_active_values_fill_what_items_lack_and_say_so(store: Store) -> None:
    colours = [value(SHIRT, "Red"), value(SHOE, "Red"), value(BARE, "Red")]
    tags = [value(BARE, "summer", "tags")]
    store.generated_values.replace("colour", colours)
    store.generated_values.replace("tags", tags)
    assert items_of(store) == [SHIRT, SHOE, BARE]
    store.generated_values.activate("colour", colours)
    store.generated_values.activate("tags", tags)
    shirt, shoe, bare = items_of(store)
    assert shirt.attributes == {"size": "M", "tags": ("summer",), "colour": "Red"}
    assert shirt.generated_attributes == ("colour",)
    assert shoe == SHOE  # it has a colour of its own
    assert bare.attributes == {"colour": "Red", "tags": ("summer",)}  # a list, as others have it
    assert bare.generated_attributes == ("colour", "tags")
    assert store.items() == [SHIRT, SHOE, BARE]
    for own, filled in ((SHIRT, shirt), (BARE, bare)):
        assert text_digest(filled) == text_digest(own)
        assert all(lacks(without_values([filled])[0], name) for name in filled.generated_attributes)
    assert without_values([bare]) == [BARE]
    store.generated_values.activate("colour", [])
    assert items_of(store)[0] == SHIRT
    assert store.generated_values.remove_all() == 4
    assert items_of(store) == [SHIRT, SHOE, BARE]


def test_values_of_items_that_changed_are_left_out(store: Store) -> None:
    values = [value(BARE, "Red")]
    store.generated_values.replace("colour", values)
    store.generated_values.activate("colour", values)
    for changed in (
        replace(BARE, title="Green hat"),
        replace(BARE, attributes={"colour": "Green"}),
    ):
        store.put_items([changed])
        assert items_of(store)[2] == changed
        assert fresh_values(store.items(), values) == []
    store.put_items([BARE])
    assert items_of(store)[2].attributes == {"colour": "Red"}


def test_another_run_replaces_the_values_of_its_attribute_alone(store: Store) -> None:
    first = [value(SHIRT, "Red"), value(BARE, "Red")]
    sizes = [value(BARE, "L", "size")]
    store.generated_values.replace("colour", first)
    store.generated_values.replace("size", sizes)
    store.generated_values.activate("colour", first)
    store.generated_values.activate("size", sizes)
    store.generated_values.replace("colour", [value(SHIRT, "Pink"), value(BARE, "Red")])
    stored = {(one.item_id, one.attribute): one for one in store.generated_values.all()}
    assert stored["a", "colour"] == value(SHIRT, "Pink")  # changed: not in use
    assert stored["c", "colour"].active  # unchanged
    assert stored["c", "size"].active
    store.generated_values.activate("colour", first)  # "Red" of the shirt is not there any more
    assert [one.item_id for one in store.generated_values.active()] == ["c", "c"]
    store.generated_values.replace("colour", [])
    assert store.generated_values.all() == [replace(sizes[0], active=True)]


def test_values_of_unanswered_items_stay_as_they_are(store: Store) -> None:
    values = [value(SHIRT, "Red"), value(BARE, "Red")]
    store.generated_values.replace("colour", values)
    store.generated_values.activate("colour", values)
    store.generated_values.replace("colour", [], unanswered=["c"])
    assert store.generated_values.all() == [replace(values[1], active=True)]


def test_what_was_generated_stays_with_an_item_while_its_texts_are_the_same() -> None:
    (served,) = with_values([BARE], [value(BARE, "Red")])
    served = replace(served, generated_text="cap")
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
    assert keep_generated(cheaper, BARE) is cheaper


def test_values_of_an_erased_item_go_and_do_not_come_back(store: Store) -> None:
    values = [value(BARE, "Red"), value(SHIRT, "Red")]
    store.generated_values.replace("colour", values)
    store.erase_item("c")
    assert [one.item_id for one in store.generated_values.all()] == ["a"]
    store.generated_values.replace("colour", values)
    assert [one.item_id for one in store.generated_values.all()] == ["a"]


def test_a_value_that_cannot_be_stored_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="text about item 'c' cannot be stored"):
        store.generated_values.replace("colour", [value(SHIRT, "Red"), value(BARE, "R\0ed")])
    assert store.generated_values.all() == []


def test_values_are_listed_whatever_their_kind() -> None:
    assert list_values(SHIRT, "tags") == ("summer",)
    assert list_values(SHOE, "colour") == ("Blue",)
    assert list_values(SHIRT, "colour") == list_values(BARE, "colour") == ()
    items = [SHIRT, SHOE]
    assert with_values(items, []) is items
