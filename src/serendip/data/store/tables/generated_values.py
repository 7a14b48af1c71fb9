"""Generated values of attributes that items lack, by an LLM or by rules, each with its provenance.

An item that has a value of its own keeps it. Some rows are of items that have one: it was hidden
from the generator, and the gate compares both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.store.schema import GENERATED_VALUES
from serendip.data.store.tables.generated_rows import GeneratedRow, GeneratedRows
from serendip.data.store.tables.generated_texts import text_digest

ValueSource: TypeAlias = Literal["llm", "rules"]


@dataclass(frozen=True, slots=True, order=True)
class GeneratedValue(GeneratedRow):
    """One generated value of an attribute of an item.

    Args:
        item_id: the item.
        attribute: name of the attribute.
        value: one of those that other items have.
        source: kind of generator.
        model: name of the generator.
        prompt: name and version of the prompt; for rules, their version.
        digest: hash of the item text it was generated from (``text_digest``).
        active: whether it is used.
    """

    attribute: str
    value: str
    source: ValueSource
    model: str
    prompt: str
    digest: str
    active: bool = False

    @property
    def content(self) -> str:
        """The value."""
        return self.value


class GeneratedValues(GeneratedRows[GeneratedValue]):
    """The table of generated values of one database."""

    _table, _row = GENERATED_VALUES, GeneratedValue

    def replace(
        self,
        attribute: str,
        values: Sequence[GeneratedValue],
        unanswered: Collection[str] = (),
    ) -> None:
        """Keep these values of an attribute, and no others but those of unanswered items.

        A changed value becomes inactive; an unchanged one keeps its state. Those of items that were
        erased meanwhile are left out.

        Args:
            attribute: of all values.
            values: at most one of each item.
            unanswered: ids of items whose values stay as they are.

        Raises:
            DataError: a value has characters that cannot be stored; none is stored.
        """
        kept = {*(value.item_id for value in values), *unanswered}
        self._put(values, GENERATED_VALUES.c.attribute == attribute, lambda key: key[0] in kept)

    def activate(self, attribute: str, values: Iterable[GeneratedValue]) -> None:
        """Make exactly these values of an attribute active; one replaced meanwhile is skipped."""
        self._activate(values, GENERATED_VALUES.c.attribute == attribute)


def fresh_values(items: Iterable[Item], values: Iterable[GeneratedValue]) -> list[GeneratedValue]:
    """Select the values whose items have not changed since they were generated."""
    digests = {item.item_id: text_digest(item) for item in items}
    return [value for value in values if digests.get(value.item_id) == value.digest]


def with_values(items: Sequence[Item], values: Sequence[GeneratedValue]) -> Sequence[Item]:
    """Add generated values to items that lack them; without values, return the same items.

    An attribute that is a list in the catalogue gets a list of one.
    """
    if not values:
        return items
    by_item: dict[str, list[GeneratedValue]] = {}
    for value in values:
        by_item.setdefault(value.item_id, []).append(value)
    listed = _find_listed(items, {value.attribute for value in values})
    return [
        _with_values(item, by_item[item.item_id], listed) if item.item_id in by_item else item
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


def _with_values(item: Item, values: Sequence[GeneratedValue], listed: set[str]) -> Item:
    digest = text_digest(item)
    added: Mapping[str, Attribute] = {
        one.attribute: (one.value,) if one.attribute in listed else one.value
        for one in values
        if one.digest == digest and lacks(item, one.attribute)
    }
    if not added:
        return item
    attributes = {**item.attributes, **added}
    return replace(item, attributes=attributes, generated_attributes=tuple(added))


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


def without_values(items: Iterable[Item]) -> list[Item]:
    """Remove generated values: the items as the catalogue has them.

    An attribute that was there and empty is not there any more.
    """
    return [
        replace(
            item,
            attributes={
                name: value
                for name, value in item.attributes.items()
                if name not in item.generated_attributes
            },
            generated_attributes=(),
        )
        if item.generated_attributes
        else item
        for item in items
    ]


def lacks(item: Item, attribute: str) -> bool:
    """Whether an item has no value of an attribute, or an empty one."""
    return item.attributes.get(attribute, "") in ("", ())


def list_values(item: Item, attribute: str) -> tuple[str, ...]:
    """The values of an attribute: none, one, or those of a list."""
    value = item.attributes.get(attribute, ())
    values = value if isinstance(value, tuple) else (str(value),)
    return tuple(text for text in values if text)
