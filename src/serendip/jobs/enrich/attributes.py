"""``serendip enrich attribute``: values of an attribute for the items that lack it.

Values are chosen, by an LLM or by rules, among those that other items have. Some items that have a
value are asked about, too, with it hidden: the gate (``gate.py``) compares what was chosen
for them with what they have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated_texts import text_digest
from serendip.data.store.tables.generated_values import (
    GeneratedValue,
    ValueSource,
    lacks,
    list_values,
)
from serendip.errors import ConfigError, DataError
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.value_phrases import ValuePhrases
from serendip.jobs.enrich.write import hold_job, read_original
from serendip.jobs.llm.job import LlmJob, Question, describe_item, run_llm_job
from serendip.llm.tasks import MAX_VALUE_LENGTH, attribute_task

RULES_MODEL, RULES_VERSION = "words of the item", "attribute-rules-1"

MOST_HELD_OUT: Mapping[ValueSource, int] = {"llm": 300, "rules": 1_000}
"""Items with a value that a source is asked about, at most; never more than half of them."""

MOST_VALUES = 100
"""Values that an LLM may choose among, the most frequent ones."""

_MIN_ITEMS = 2
"""Items that must have a value before it is given to others."""


@dataclass(frozen=True, slots=True, eq=False)
class AttributeItems:
    """Items of a catalogue by whether they have an attribute.

    Args:
        attribute: its name.
        lacking: items with a title and without a value.
        held_out: items with a value that is hidden from the generator.
        known: all other items with a value.
        values: values that at least two items have, the most frequent first.
    """

    attribute: str
    lacking: Sequence[Item]
    held_out: Sequence[Item]
    known: Sequence[Item]
    values: Sequence[str]

    @classmethod
    def of(cls, catalogue: Catalogue, attribute: str, most_held_out: int, seed: int) -> Self:
        """Divide a catalogue.

        Args:
            catalogue: all items, without generated values.
            attribute: its name.
            most_held_out: items to compare.
            seed: of the draw of these.

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
        if any(len(list_values(item, attribute)) > 1 for item in with_value):
            raise ConfigError(
                f"{attribute} has several values of one item.",
                "Only attributes of one value can be chosen.",
            )
        counts = Counter(value for item in with_value for value in list_values(item, attribute))
        values = [
            value
            for value, count in counts.most_common()
            if count >= _MIN_ITEMS and len(value) <= MAX_VALUE_LENGTH
        ]
        if len(values) < 2:
            raise DataError(
                f"{attribute} has {len(values)} values that {_MIN_ITEMS} items share.",
                "Choose an attribute by which people filter.",
            )
        order = np.random.default_rng(seed).permutation(len(with_value)).tolist()
        count = min(most_held_out, len(with_value) // 2)
        return cls(
            attribute,
            [item for item in catalogue.items if item.title.strip() and lacks(item, attribute)],
            [with_value[row] for row in sorted(order[:count])],
            [with_value[row] for row in sorted(order[count:])],
            values,
        )

    @property
    def asked(self) -> list[Item]:
        """Items that a value is chosen for: first those that the gate compares."""
        return [*self.held_out, *self.lacking]

    @property
    def hidden(self) -> list[Item]:
        """``asked`` without their own value."""
        return [hide_attribute(item, self.attribute) for item in self.asked]


def hide_attribute(item: Item, attribute: str) -> Item:
    """The item without one of its attributes."""
    kept: Mapping[str, Attribute] = {
        name: value for name, value in item.attributes.items() if name != attribute
    }
    return replace(item, attributes=kept)


def write_values(
    context: JobContext, attribute: str, job: LlmJob | None = None, estimate_only: bool = False
) -> dict[str, Any]:
    """Choose values for the items that lack an attribute; used only after they pass the gate.

    Args:
        context: items, ledger and ``[llm]``.
        attribute: of texts.
        job: name and limits of an LLM; None = rules choose.
        estimate_only: only count the questions of the rules.

    Returns:
        state and counts; for an LLM also estimate and spend.

    Raises:
        ConfigError: there is no such attribute, it is a number, or an item has several; no LLM is
            configured, or the budget is negative or not a number.
        DataError: the items share no values.
        StorageError: the database cannot be written, or another process writes texts.
    """
    source: ValueSource = "rules" if job is None else "llm"
    catalogue = read_original(context).catalogue
    items = AttributeItems.of(catalogue, attribute, MOST_HELD_OUT[source], context.options.seed)
    head = {
        "attribute": attribute,
        "source": source,
        "items": len(catalogue),
        "lacking": len(items.lacking),
        "held_out": len(items.held_out),
        "values": len(items.values),
    }
    if job is not None:
        return {**head, **_write_by_llm(context, items, job)}
    if estimate_only:
        return {**head, "estimate": {"questions": len(items.asked), "price": 0.0}}
    with hold_job(context):
        phrases = ValuePhrases.learn(items.known, attribute, items.values)
        found = [phrases.find(item) for item in items.hidden]
        stored = _store(context, items, found, (source, RULES_MODEL, RULES_VERSION))
    return {**head, "state": "complete", "reason": "", **stored}


def _write_by_llm(context: JobContext, items: AttributeItems, job: LlmJob) -> dict[str, Any]:
    """Let an LLM choose; answers in the ledger are not paid for again."""
    task, values = attribute_task(), list(items.values[:MOST_VALUES])

    def ask() -> list[Question]:
        head = {"attribute": items.attribute, "values": values}
        return [{**head, "item": describe_item(item)} for item in items.hidden]

    result = run_llm_job(context, task, ask, job)
    if result.outcome is None:
        return result.to_json()
    found = [answer.value if answer else None for answer in result.outcome.answers]
    stored = _store(context, items, found, ("llm", result.model, task.prompt.name))
    return {**result.to_json(), **stored}


def _store(
    context: JobContext,
    items: AttributeItems,
    found: Sequence[str | None],
    origin: tuple[ValueSource, str, str],
) -> dict[str, Any]:
    """Store what was found for each asked item, and count it.

    Args:
        context: of the store.
        items: that were asked about.
        found: value of each; empty = it has none, None = there is no answer: what is stored stays.
        origin: source, model and prompt of the values.
    """
    pairs = list(zip(items.asked, found, strict=True))
    values = [
        GeneratedValue(item.item_id, items.attribute, value, *origin, text_digest(item))
        for item, value in pairs
        if value
    ]
    unanswered = [item.item_id for item, value in pairs if value is None]
    with closing(context.workspace.open_store()) as store:
        store.generated_values.replace(items.attribute, values, unanswered)
    compared = sum(bool(value) for value in found[: len(items.held_out)])
    return {"written": len(values) - compared, "compared": compared}
