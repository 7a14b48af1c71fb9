"""Values of attributes: which items have one, best first, and which of them a text names.

People search for actors, brands and genres: a text that is a value, or is covered by several, is
answered by the items that have them. A person is also found by the last word of the name, a year
(an attribute with ``year`` in its name) by its decade.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Self

from serendip.data import FloatArray, Item, normalise, title_key
from serendip.search.documents import decades_of
from serendip.search.names import FEWEST_BESIDE, FEWEST_LETTERS, Names

MAX_VALUE_CHARACTERS = 40
MIN_VALUE_ITEMS = 2  # of a value that is suggested
MOST_WORDS = 6  # of the longest value that is looked for in a text
# Letters of a word from which on there may be more than one slip.
_LONG, _MOST_EDITS = 8, 2
_SHORT_NAME = 2  # words of a name that is found whole


class ValueTable(Names):
    """Attribute values of a catalogue."""

    __slots__ = ()

    @classmethod
    def of(cls, items: Iterable[Item], merits: FloatArray | None = None) -> Self:
        """List the values of N items of merits (N,); None = all are as good."""
        return cls.build(map(keys_of, items), merits, MIN_VALUE_ITEMS)

    def nearest(self, key: str) -> str:
        """The value that is a normal form but for slips, of several the commonest; empty = none."""
        near = (name for name in self.near(key) if _is_slip_of(name, key))
        return min(near, key=lambda name: (-self.size(name), name), default="")


def _is_slip_of(name: str, key: str) -> bool:
    """Whether a text differs from a name by spaces, or by an edit of words but their beginning,
    two of a long word.
    """
    from rapidfuzz.distance import OSA

    if key.replace(" ", "") == name.replace(" ", ""):
        return key != name
    pairs = zip_longest(key.split(" "), name.split(" "), fillvalue="")
    slips = [(typed, word) for typed, word in pairs if typed != word]
    is_beside = len(slips) == 1 < len(name.split(" "))
    return all(
        len(typed) >= (FEWEST_BESIDE if is_beside and len(typed) != len(word) else FEWEST_LETTERS)
        and typed[0] == word[:1]
        and OSA.distance(typed, word) <= (1 if len(typed) < _LONG else _MOST_EDITS)
        for typed, word in slips
    )


def values_of(item: Item) -> set[str]:
    """Distinct short text values of an item's attributes."""
    values: set[str] = set()
    for attribute in item.attributes.values():
        if isinstance(attribute, tuple):
            values.update(attribute)
        elif isinstance(attribute, str):
            values.add(attribute)
    return {value for value in values if 0 < len(value) <= MAX_VALUE_CHARACTERS}


def keys_of(item: Item) -> dict[str, str]:
    """Normal forms by which an item is found, and how those of its values are written: further
    ones are its title, its years, and the last words of its values.
    """
    keys = {key: value for value in sorted(values_of(item)) if (key := normalise(value))}
    others = [last for key in keys for last in _last_words(key)]
    others += [key for key in [title_key(item.title)] if " " in key]
    for name, value in item.attributes.items():
        if decades := decades_of(name, value):
            others += [*decades, f"{value:.0f}"]
    return dict.fromkeys(others, "") | keys


def _last_words(key: str) -> Iterator[str]:
    """The last word of a name and the last two: ``niro`` and ``de niro``; of three or more."""
    parts = key.removesuffix(" jr").removesuffix(" sr").split(" ")
    yield parts[-1]
    if len(parts) > _SHORT_NAME:
        yield " ".join(parts[-_SHORT_NAME:])
