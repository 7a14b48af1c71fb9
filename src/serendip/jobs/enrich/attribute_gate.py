"""``serendip enrich gate --attribute``: decides whether generated values of an attribute are used.

For items that have a value, which was hidden from the generator, it is compared with the generated
one. The values of the other items become active if the lower end of the 95 % interval of the share
that is right reaches the floor. That says nothing of items without a value that are of another kind
than those with one, such as accessories that name the brand they fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated_values import (
    GeneratedValue,
    fresh_values,
    lacks,
    list_values,
)
from serendip.data.text import normalise
from serendip.errors import ConfigError, DataError
from serendip.evaluate.intervals import estimates
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.gate import Verdict
from serendip.jobs.enrich.write import read_original
from serendip.runtime.atomic_files import write_json

REPORT_FILE = "enrich-attributes.json"

MIN_COMPARED = 30
"""Minimum number of items with a value of their own and a generated one."""

FLOOR = 0.9


@dataclass(frozen=True, slots=True)
class AttributeGate:
    """Attribute and floor of a run of the gate.

    Args:
        attribute: whose values are tested.
        floor: lowest share of right values, in (0, 1].
    """

    attribute: str
    floor: float = FLOOR

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise ConfigError(f"--floor {self.floor} is no share.", "Use a number up to 1.")


def gate_values(context: JobContext, gate: AttributeGate) -> dict[str, Any]:
    """Run the gate, write ``reports/enrich-attributes.json`` and activate the values, or none.

    Returns:
        verdict, reason, the share of right values with its interval, and the number of active ones.

    Raises:
        DataError: there are no values of the attribute for the current items.
        StorageError: the database cannot be written.
    """
    items = read_original(context).catalogue.items
    by_id = {item.item_id: item for item in items}
    with closing(context.workspace.open_store()) as store:
        stored = (one for one in store.generated_values.all() if one.attribute == gate.attribute)
        values = fresh_values(items, stored)
        if not values:
            raise DataError(
                f"there are no generated values of {gate.attribute!r} for the current items.",
                f"Run `serendip enrich attribute {gate.attribute}`; it may have found none.",
            )
        missing = [value for value in values if lacks(by_id[value.item_id], gate.attribute)]
        right = compare_with_own(values, by_id)
        report = {
            "attribute": gate.attribute,
            "sources": sorted({value.source for value in values}),
            "values": len(missing),
            **judge_values(right, gate.floor),
        }
        active = missing if report["verdict"] == "passed" else []
        store.generated_values.activate(gate.attribute, active)
    report["active"] = len(active)
    reports = read_reports(context.workspace.reports)
    write_json(context.workspace.reports / REPORT_FILE, {**reports, gate.attribute: report})
    return report


def read_reports(folder: Path) -> dict[str, Any]:
    """Attribute -> last report of the gate; empty without any."""
    path = folder / REPORT_FILE
    if not path.is_file():
        return {}
    reports: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return reports


def compare_with_own(values: Sequence[GeneratedValue], by_id: dict[str, Item]) -> list[bool]:
    """Whether each value of an item that has one of its own is right; case does not count."""
    return [
        normalise(value.value)
        in {normalise(own) for own in list_values(by_id[value.item_id], value.attribute)}
        for value in values
        if not lacks(by_id[value.item_id], value.attribute)
    ]


def judge_values(right: Sequence[bool], floor: float = FLOOR) -> dict[str, Any]:
    """The verdict on values of which it is known whether they are right."""
    head: dict[str, Any] = {"compared": len(right), "floor": floor}
    if len(right) < MIN_COMPARED:
        reason = f"{len(right)} items to compare; {MIN_COMPARED} are needed"
        return {**head, "verdict": "refused", "reason": reason}
    (share,) = estimates(np.array(right, np.float64)[:, None])
    passed = share.low is not None and share.low >= floor
    verdict: Verdict = "passed" if passed else "failed"
    return {
        **head,
        "verdict": verdict,
        "reason": "" if passed else "too many are wrong",
        "right": share.as_dict(),
    }
