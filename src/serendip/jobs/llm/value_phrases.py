"""Rules that read an attribute's value in the words of an item: "red" in "Red cotton shirt".

The words of a value stand for it only where they nearly always do: among the items that have a
value and whose title has these words, at least ``MIN_SHARE`` must have that one; the same holds of
descriptions, apart from titles ("fits every Apple phone").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated_items import list_values
from serendip.data.text import tokens

MIN_SHARE, MIN_ITEMS = 0.8, 2
"""Share of the items with the words of a value that must have it, and number of these items."""

_MAX_WORDS = 5

Words: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValuePhrases:
    """Words of values -> the value that they stand for.

    Args:
        in_titles: where an item's title has them.
        in_descriptions: where its description has them.
    """

    in_titles: Mapping[Words, str]
    in_descriptions: Mapping[Words, str]

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
        own = [{tuple(tokens(one)) for one in list_values(item, attribute)} for item in known]
        return cls(
            _select(named, [item.title for item in known], own),
            _select(named, [item.description for item in known], own),
        )

    def find(self, item: Item) -> str:
        """The value with the most words in the title, else in the description.

        Empty if there is none, or several with as many words.
        """
        texts = (item.title, self.in_titles), (item.description, self.in_descriptions)
        for text, values in texts:
            found = {phrase for phrase in _phrases(text) if phrase in values}
            longest = max(map(len, found), default=0)
            best = [phrase for phrase in found if len(phrase) == longest]
            if best:
                return values[best[0]] if len(best) == 1 else ""
        return ""


def _select(
    named: Mapping[Words, str], texts: Sequence[str], own: Sequence[set[Words]]
) -> dict[Words, str]:
    """The values whose words stand for them in these texts, of items with their own values."""
    seen, right = dict.fromkeys(named, 0), dict.fromkeys(named, 0)
    for text, words_of_item in zip(texts, own, strict=True):
        for phrase in set(_phrases(text)) & named.keys():
            seen[phrase] += 1
            right[phrase] += phrase in words_of_item
    return {
        words: value
        for words, value in named.items()
        if seen[words] >= MIN_ITEMS and right[words] >= MIN_SHARE * seen[words]
    }


def _phrases(text: str) -> Iterator[Words]:
    """All runs of up to ``_MAX_WORDS`` words."""
    words = tokens(text)
    for begin in range(len(words)):
        for size in range(1, min(_MAX_WORDS, len(words) - begin) + 1):
            yield tuple(words[begin : begin + size])
