"""Variants of a product: items whose titles differ by a measure or a size only, or not at all.

A list shows one of them and the others behind all other results. A number that is neither may be
that of a sequel, and two items with a year that differs are not the same film: both stay apart. Of
a book, or a record, the editions are variants, whatever their years: those of a title and author.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from serendip.data import IntArray, Item, normalise, title_key
from serendip.data.text import code_key

UNTITLED: Final = -1
"""Of an item without a title, or whose title is its id: a search never leads with it."""

_UNITS = (
    "oz|ounces?|fl oz|lbs?|pounds?|mg|g|kg|ml|cl|l|liters?|litres?|mm|cm|m|km|in(?= x|$)|inch|"
    "inches|ft|feet|packs?|pcs|pieces?|count|ct|pk|gb|tb|mb|mah|개입|개|매|장|병|팩"
)
_SIZES = "xxs|xs|s|m|l|xl|xxl|[2-6]xl|small|medium|large|x large|one size|free size"
_MEASURE = re.compile(
    rf"\b(?:[0-9]+(?:x[0-9]+)+(?: ?(?:{_UNITS}))?|[0-9]+(?: [0-9]+)? ?(?:{_UNITS})|"
    rf"(?:pack|set|box) of [0-9]+|size (?:[0-9]+(?: [0-9])?|{_SIZES}))\b"
)
_LAST_SIZE = re.compile(rf" (?:{_SIZES})$")
_EDITION = re.compile(
    r"\b(?:(?:[0-9]+(?:st|nd|rd|th)|first|second|third|new|revised|illustrated|annotated|special|"
    r"deluxe|limited|collectors|anniversary|large print|paperback|hardcover|kindle) )+edition\b|"
    r"\b(?:paperback|hardcover|hardback|audiobook|ebook)$"
)
_AUTHORS = frozenset(("author", "authors", "writer", "artist", "저자", "작가", "지은이", "가수"))
"""Attributes of whose values the works of one title are editions of one work."""


def variant_form(item: Item) -> tuple[object, ...]:
    """What variants share: the title without measures, sizes and editions, and its authors, or
    else the years of the item.
    """
    key = title_key(item.title)
    form = _LAST_SIZE.sub("", _MEASURE.sub(" ", _EDITION.sub(" ", key)))
    authors = [
        normalise(item.field_text(name)) for name in item.attributes if name.casefold() in _AUTHORS
    ]
    years = [
        value
        for name, value in sorted(item.attributes.items())
        if "year" in name.casefold() and isinstance(value, float)
    ]
    return " ".join(form.split()) or key, *(sorted(filter(None, authors)) or years)


def is_untitled(item: Item) -> bool:
    """Whether an item has no title but its id."""
    key = code_key(item.title)
    return not title_key(item.title) or key == code_key(item.item_id)


def find_variants(items: Iterable[Item]) -> IntArray:
    """(N,) number of the first of its variants for each item; ``UNTITLED`` without a title."""
    first: dict[tuple[object, ...], int] = {}
    numbers = [
        UNTITLED if is_untitled(item) else first.setdefault(variant_form(item), number)
        for number, item in enumerate(items)
    ]
    return np.array(numbers, np.int32)


def number_late(item: Item, number: int, before: Item | None, shared: int) -> int:
    """The number that a late item shares with its variants; a new one has none before a training.

    ``before`` is the item as it was, None = it is new; ``shared`` its number among its variants
    then.
    """
    if is_untitled(item):
        return UNTITLED
    if before is None:
        return number
    is_same = shared != UNTITLED and variant_form(item) == variant_form(before)
    return shared if is_same else -2 - number  # of which nothing else is a variant
