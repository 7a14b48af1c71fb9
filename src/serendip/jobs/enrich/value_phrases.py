"""Rules that read an attribute's value in the words of an item: "red" in "Red cotton shirt".

The words of a value stand for it only where they nearly always do: among the items that have a
value and whose title or description has these words, at least ``MIN_SHARE`` must have that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated_values import list_values
from serendip.data.text import tokens

MIN_SHARE, MIN_ITEMS = 0.8, 2
"""Share of the items with the words of a value that must have it, and number of these items."""

_MAX_WORDS = 5

Words: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValuePhrases:
    """Words of values -> the value that they stand for."""

    values: Mapping[Words, str]

    @classmethod
    def learn(cls, known: Sequence[Item], attribute: str, values: Sequence[str]) -> Self:
        """Find the values whose words stand for them.

        Args:
            known: items with a value of the attribute.
            attribute: its name.
            values: to look for; of two with the same words the first one counts.
        """
        named: dict[Words, str] = {}
        for value in values:
            words = tuple(tokens(value))
            if 0 < len(words) <= _MAX_WORDS:
                named.setdefault(words, value)
        seen, right = dict.fromkeys(named, 0), dict.fromkeys(named, 0)
        for item in known:
            own_words = {tuple(tokens(value)) for value in list_values(item, attribute)}
            for phrase in {*_phrases(item.title), *_phrases(item.description)} & named.keys():
                seen[phrase] += 1
                right[phrase] += phrase in own_words
        return cls(
            {
                words: value
                for words, value in named.items()
                if seen[words] >= MIN_ITEMS and right[words] >= MIN_SHARE * seen[words]
            }
        )

    def find(self, item: Item) -> str:
        """The value with the most words in the title, else in the description.

        Empty if there is none, or several with as many words.
        """
        for text in (item.title, item.description):
            found = {phrase for phrase in _phrases(text) if phrase in self.values}
            longest = max(map(len, found), default=0)
            best = [phrase for phrase in found if len(phrase) == longest]
            if best:
                return self.values[best[0]] if len(best) == 1 else ""
        return ""


def _phrases(text: str) -> Iterator[Words]:
    """All runs of up to ``_MAX_WORDS`` words."""
    words = tokens(text)
    for begin in range(len(words)):
        for size in range(1, min(_MAX_WORDS, len(words) - begin) + 1):
            yield tuple(words[begin : begin + size])
