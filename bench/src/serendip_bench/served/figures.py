"""Figures of the answers: slices of the users, metrics with intervals, paired differences.

Shapes: U users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.splits import tail_border
from serendip.evaluate.intervals import estimates
from serendip.evaluate.runs import Values
from serendip_bench.ranking_values import LABELS, values_of_ranks
from serendip_bench.served.data import ServedUsers

COLD_AT_MOST = 4
"""Known events of a cold user, the posted one included: the smallest number in a 5-core set."""


def slice_users(
    users: ServedUsers, counts: Mapping[str, int], order: Mapping[str, Any]
) -> dict[str, BoolArray]:
    """Slice -> (U,) bool; see ``PROTOCOL``."""
    border = tail_border(np.array([count for count in counts.values() if count], np.int32))
    popularity = np.array([counts[item] for item in users.targets])
    pairs = zip(users.posted, users.targets, strict=True)
    return {
        "all": np.ones(len(users), np.bool_),
        "order-safe": np.array([order[last] < order[before] for before, last in pairs], np.bool_),
        "cold users": np.array([len(past) < COLD_AT_MOST for past in users.histories], np.bool_),
        "tail items": popularity <= border,
        "cold items": popularity == 0,
        "warm items": popularity > 0,
    }


def summarise(ranks: Values, slices: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Slice -> number of users, and mean, standard error and 95 % interval of each metric."""
    values = values_of_ranks(ranks)  # (U, 4)
    summary: dict[str, Any] = {}
    for name, mask in slices.items():
        part = values[mask]
        errors = part.std(axis=0, ddof=1) / len(part) ** 0.5 if len(part) > 1 else [None] * 4
        summary[name] = {"users": len(part)} | {
            label: {**asdict(estimate), "se": None if error is None else float(error)}
            for label, estimate, error in zip(LABELS, estimates(part), errors, strict=True)
        }
    return summary


def compare(first: Values, second: Values, slices: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Slice -> metric -> mean of the paired differences of two ranks per user, with interval."""
    differences = values_of_ranks(first) - values_of_ranks(second)  # (U, 4)
    return {
        name: {
            label: asdict(estimate)
            for label, estimate in zip(
                LABELS, estimates(differences[mask], support=(-1.0, 1.0)), strict=True
            )
        }
        for name, mask in slices.items()
    }
