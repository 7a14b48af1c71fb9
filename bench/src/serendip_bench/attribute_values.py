"""``serendip bench attributes``: values of attributes that are hidden from items which have them.

Half of the items with an attribute lose it. For these a value is chosen, as ``serendip llm run
attribute`` does: by its rules, and by a scripted LLM of a stated precision. The gate sees only the
items that keep their value; what it says is compared with how right the values of the others are.

A filter by an attribute finds no item that lacks it. ``found``: share of the hidden items that a
filter by their own value finds with the generated ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated import lacks, list_values
from serendip.data.text import normalise
from serendip.evaluate.intervals import estimates
from serendip.jobs.llm.attributes import (
    MOST_HELD_OUT,
    MOST_VALUES,
    AttributeItems,
    ValuePhrases,
    hide_attribute,
)
from serendip.jobs.llm.gates import judge_values
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.registry import detect_dataset

PRECISIONS = (0.63, 0.83, 0.90, 0.95)
"""Shares of right answers of scripted LLMs."""


@dataclass(frozen=True, slots=True)
class AttributeBench:
    """Settings of a run.

    Args:
        data: folder of any kind in ``datasets.registry``.
        file: the results.
        attributes: names.
        seeds: number of draws of the hidden items.
    """

    data: Path
    file: Path
    attributes: Sequence[str]
    seeds: int = 3


def run_attributes(bench: AttributeBench, options: TrainOptions) -> dict[str, Any]:
    """Measure all attributes, writers and seeds; write the results.

    Raises:
        ConfigError: no item has one of the attributes, or it is a number.
        DataError: the data are missing or invalid.
    """
    dataset = detect_dataset(bench.data)
    items = list(dataset.read(bench.data).catalogue.items)
    tasks = [(name, seed) for name in bench.attributes for seed in range(bench.seeds)]
    rows: list[dict[str, Any]] = []
    for name, seed in options.progress.track(tasks, "attributes", len(tasks)):
        rows += _measure(items, name, seed)
    document = {
        "dataset": bench.data.resolve().name,
        "digest": dataset.digest(bench.data),
        "rows": rows,
    }
    write_json(bench.file, document)
    return document


def _measure(items: Sequence[Item], attribute: str, seed: int) -> list[dict[str, Any]]:
    """Rows of one attribute and seed: of rules and of each scripted LLM."""
    own = {
        item.item_id: list_values(item, attribute) for item in items if not lacks(item, attribute)
    }
    order = np.random.default_rng(seed).permutation(len(own))
    hidden = {item_id for item_id, place in zip(own, order.tolist(), strict=True) if place % 2}
    catalogue = Catalogue(
        hide_attribute(item, attribute) if item.item_id in hidden else item
        for item in items
        if item.item_id in own
    )
    parts = AttributeItems.of(catalogue, attribute, MOST_HELD_OUT["rules"], seed)
    rules = ValuePhrases.learn(parts.known, attribute, parts.values)
    head = {"attribute": attribute, "seed": seed, "values": len(parts.values)}
    rows = [{**head, "writer": "rules", **_summarise(parts, own, rules.find)}]
    parts = AttributeItems.of(catalogue, attribute, MOST_HELD_OUT["llm"], seed)
    for precision in PRECISIONS:
        choose = ScriptedValues(own, parts.values, precision, seed)
        rows.append({**head, "writer": f"scripted {precision}", **_summarise(parts, own, choose)})
    return rows


def _summarise(
    parts: AttributeItems, own: dict[str, tuple[str, ...]], choose: Callable[[Item], str]
) -> dict[str, Any]:
    right = _compare(parts.lacking, own, choose)
    hidden = [hide_attribute(item, parts.attribute) for item in parts.held_out]
    compared = _compare(hidden, own, choose)
    decision = judge_values(parts.attribute, compared)
    (share,) = estimates(np.array(right, np.float64).reshape(-1, 1))
    return {
        "hidden": len(parts.lacking),
        "written": len(right),
        "right": share.value,
        "ci95": [share.low, share.high],
        "found": sum(right) / max(1, len(parts.lacking)),
        "gate": decision.verdict,
        "gate_low": decision.low,
        "compared": len(compared),
    }


def _compare(
    items: Sequence[Item], own: dict[str, tuple[str, ...]], choose: Callable[[Item], str]
) -> list[bool]:
    """Whether the values that are chosen are right; items for which none is chosen are left out."""
    chosen = ((item.item_id, choose(item)) for item in items)
    return [
        normalise(value) in set(map(normalise, own[item_id])) for item_id, value in chosen if value
    ]


@dataclass(frozen=True, slots=True)
class ScriptedValues:
    """The script of an LLM that chooses right with a given probability, else any other value.

    It cannot choose a value that it is not offered: of such an item it chooses none.

    Args:
        own: item -> its values.
        values: of the attribute, the most frequent first; the first ones are offered.
        precision: share of right answers.
        seed: of the draws.
    """

    own: dict[str, tuple[str, ...]]
    values: Sequence[str]
    precision: float
    seed: int

    def __call__(self, item: Item) -> str:
        """The value of an item."""
        offered, own = self.values[:MOST_VALUES], self.own[item.item_id]
        right = [value for value in own if value in offered]
        if not right:
            return ""
        random = np.random.default_rng([self.seed, zlib.crc32(item.item_id.encode())])
        if random.random() < self.precision:
            return right[0]
        return str(random.choice([value for value in offered if value not in own]))
