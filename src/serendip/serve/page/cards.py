"""What templates show of an item: its link, its picture, its attributes in words."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from serendip.data import Item
from serendip.data.items.catalogue import Attribute
from serendip.engine.item_pictures import ItemPictures

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_MAX_META_CHARS = 60
"""Characters of words beside a title; longer texts are for the page of the item."""


def item_link(item_id: str, user_id: str) -> str:
    """Link to an item's page for a visitor."""
    return f"/items/{quote(item_id, safe='')}?{urlencode({'user': user_id})}"


def picture_link(pictures: ItemPictures, item: Item) -> str:
    """Address of an item's own picture, which may fail to load; empty if it has none."""
    if pictures.names_file(item):
        return f"/media/items/{quote(item.item_id, safe='')}"
    return pictures.remote_address(item)


def choose_title_size(title: str) -> str:
    """Choose the CSS class of the font size at which no word of a title on a cover breaks."""
    longest = max(map(len, title.split()), default=0)
    if longest > 14:
        return "is-longest"
    if len(title) > 26 or longest > 11:
        return "is-long"
    return "is-short" if len(title) <= 10 and longest <= 8 else "is-middling"


def shown_attributes(engine: Engine, item: Item) -> Mapping[str, Attribute]:
    """Attributes of an item that people see, without the name of its picture, which is shown."""
    hidden = engine.pictures.attribute
    return {
        name: value
        for name, value in item.attributes.items()
        if name != hidden and engine.is_public(name)
    }


def summarise_attributes(engine: Engine, item: Item) -> str:
    """The first number and the first short words of an item in one line, ``1999 · Drama``.

    Ids and codes are left out.
    """
    attributes = shown_attributes(engine, item).items()
    numbers = (
        format_number(value, engine.units.get(name, ""))
        for name, value in attributes
        if isinstance(value, float) and not engine.is_code(name)
    )
    words = (
        item.field_text(name)
        for name, value in attributes
        if _are_words(value) and not engine.is_code(name)
    )
    parts = (*islice(numbers, 1), *islice(words, 1))
    return " · ".join(parts)


def _are_words(value: Attribute) -> bool:
    """Whether a value is for people to read: no number, link or long text."""
    first = value[0] if isinstance(value, tuple) and value else value
    return isinstance(first, str) and "://" not in first and 0 < len(first) <= _MAX_META_CHARS


def format_number(number: float, unit: str = "") -> str:
    """A number for people, with its unit behind it."""
    text = f"{number:.0f}" if number.is_integer() else f"{number:.2f}"
    return f"{text} {unit}".rstrip()
