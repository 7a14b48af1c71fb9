"""Items with what was written about them, and without it.

A text or value is used only if its item still reads as it did when it was written. An item that has
a value of its own keeps it: some rows are of such items, whose value was hidden from the generator,
so that a gate can compare both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated import Generated


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
    """The attributes that are lists of the first item that has them."""
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
    """What was generated for an item, carried over to it if its texts are still the same.

    Args:
        item: as it is now, from the store.
        before: the same item as it is served.
    """
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
