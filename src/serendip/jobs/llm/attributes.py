"""Values of an attribute for the items that lack it.

Values are chosen, by an LLM or by rules, among those that other items have. Some items that have a
value are asked about, too, with it hidden: the gate compares what was chosen for them with what
they have.

Rules read a value in the words of an item: "red" in "Red cotton shirt". The words of a value stand
for it only where they nearly always do: among the items that have a value and whose title has these
words, at least ``MIN_SHARE`` must have that one; the same holds of descriptions, apart from titles
("fits every Apple phone").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated import Generated, lacks, list_values, text_digest
from serendip.data.text import tokens
from serendip.errors import ConfigError, DataError
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import Writing, describe_item, put_generated, read_original
from serendip.llm.tasks import MAX_VALUE_LENGTH, AttributeValue, Task

MIN_SHARE, MIN_ITEMS = 0.8, 2
"""Share of the items with the words of a value that must have it, and number of these items; as
many must have a value before it is given to others."""

_MAX_WORDS = 5

Words: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValuePhrases:
    """Words of values -> the value that they stand for, in titles and in descriptions of items."""

    in_titles: Mapping[Words, str]
    in_descriptions: Mapping[Words, str]

    @classmethod
    def learn(cls, known: Sequence[Item], attribute: str, values: Sequence[str]) -> Self:
        """Find the values whose words stand for them in items with a value of the attribute.

        Of two values with the same words the first one counts.
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
    words = tokens(text)
    for begin in range(len(words)):
        for size in range(1, min(_MAX_WORDS, len(words) - begin) + 1):
            yield tuple(words[begin : begin + size])


ValueSource: TypeAlias = Literal["llm", "rules"]

RULES_MODEL, RULES_VERSION = "words of the item", "attribute-rules-1"

MOST_HELD_OUT: Mapping[ValueSource, int] = {"llm": 300, "rules": 1_000}
"""Items with a value that a source is asked about, at most; never more than half of them."""

MOST_VALUES = 100
"""Values that an LLM may choose among, the most frequent ones."""


@dataclass(frozen=True, slots=True, eq=False)
class AttributeItems:
    """Items of a catalogue by whether they have an attribute.

    Args:
        lacking: items with a title and no value.
        held_out: items with a value that is hidden from the generator.
        values: values that at least two items have, the most frequent first.
    """

    attribute: str
    lacking: Sequence[Item]
    held_out: Sequence[Item]
    known: Sequence[Item]
    values: Sequence[str]

    @classmethod
    def of(cls, catalogue: Catalogue, attribute: str, most_held_out: int, seed: int) -> Self:
        """Divide a catalogue without generated values; ``most_held_out`` items are drawn to
        compare.

        Raises:
            ConfigError: no item has such an attribute, it is a number, or an item has several.
            DataError: fewer than two values are those of at least two items.
        """
        with_value = [item for item in catalogue.items if not lacks(item, attribute)]
        if not with_value:
            raise ConfigError(
                f"no item has an attribute {attribute!r}.",
                f"Known: {', '.join(catalogue.attribute_names) or 'none'}.",
            )
        if any(isinstance(item.attributes[attribute], float) for item in with_value):
            raise ConfigError(f"{attribute} is a number.", "Only texts can be chosen among.")
        own = [list_values(item, attribute) for item in with_value]
        if any(len(values) > 1 for values in own):
            raise ConfigError(
                f"{attribute} has several values of one item.",
                "Only attributes of one value can be chosen.",
            )
        counts = Counter(value for values in own for value in values).most_common()
        shared = [value for value, count in counts if count >= MIN_ITEMS]
        shared = [value for value in shared if len(value) <= MAX_VALUE_LENGTH]
        if len(shared) < 2:
            raise DataError(
                f"{attribute} has {len(shared)} values that {MIN_ITEMS} items share.",
                "Choose an attribute by which people filter.",
            )
        order = np.random.default_rng(seed).permutation(len(with_value))
        parts = np.split(order, [min(most_held_out, len(with_value) // 2)])
        held_out, known = ([with_value[row] for row in sorted(part.tolist())] for part in parts)
        lacking = [
            item for item in catalogue.items if item.title.strip() and lacks(item, attribute)
        ]
        return cls(attribute, lacking, held_out, known, shared)

    @property
    def asked(self) -> list[Item]:
        """Items that a value is chosen for: first those that the gate compares."""
        return [*self.held_out, *self.lacking]

    @property
    def hidden(self) -> list[Item]:
        """``asked`` without their own value."""
        own = [dict(item.attributes) for item in self.asked]
        for attributes in own:
            attributes.pop(self.attribute, None)
        return [replace(item, attributes=kept) for item, kept in zip(self.asked, own, strict=True)]


def read_attribute_items(
    context: JobContext, attribute: str, source: ValueSource
) -> AttributeItems:
    """The items by whether the catalogue itself has the attribute."""
    catalogue, seed = read_original(context).catalogue, context.options.seed
    return AttributeItems.of(catalogue, attribute, MOST_HELD_OUT[source], seed)


def ask_values(context: JobContext, attribute: str) -> Writing[AttributeValue]:
    """Ask for a value of each item that lacks an attribute, or whose value is hidden."""
    items, task = read_attribute_items(context, attribute, "llm"), Task.of(AttributeValue)
    head = {"attribute": attribute, "values": list(items.values[:MOST_VALUES])}

    def keep(answers: Sequence[AttributeValue | None], model: str) -> dict[str, Any]:
        found = [answer.value if answer else None for answer in answers]
        return _put(context, items, found, "llm", (model, task.prompt.name))

    return Writing(task, [{**head, "item": describe_item(item)} for item in items.hidden], keep)


def write_values_by_rules(context: JobContext, attribute: str) -> dict[str, Any]:
    """Read the values of an attribute in the words of the items; needs no LLM."""
    items = read_attribute_items(context, attribute, "rules")
    phrases = ValuePhrases.learn(items.known, attribute, items.values)
    found = [phrases.find(item) for item in items.hidden]
    return _put(context, items, found, "rules", (RULES_MODEL, RULES_VERSION))


def _put(
    context: JobContext,
    items: AttributeItems,
    found: Sequence[str | None],
    source: ValueSource,
    origin: tuple[str, str],
) -> dict[str, Any]:
    # Empty = no value, None = no answer.
    pairs = list(zip(items.asked, found, strict=True))
    name, num_compared = items.attribute, sum(map(bool, found[: len(items.held_out)]))
    rows = [
        Generated("value", item.item_id, name, source, value, *origin, text_digest(item))
        for item, value in pairs
        if value
    ]
    unanswered = [item.item_id for item, value in pairs if value is None]
    put_generated(context, rows, ("value", name), unanswered)
    return {
        "lacking": len(items.lacking),
        "held_out": len(items.held_out),
        "values": len(items.values),
        "written": len(rows) - num_compared,
        "compared": num_compared,
    }
