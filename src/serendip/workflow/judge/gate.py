"""``serendip judge gate``: do labels agree with people well enough to be used?

Only pairs of queries that nothing was tuned on or learned from count, and only the lower end of the
interval does: with few pairs that end is low, and the answer is to judge more by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.errors import ConfigError
from serendip.evaluate.binary import Verdicts
from serendip.workflow.judge.pair_files import read_labels, read_pairs

FEWEST_PAIRS = 50
FEWEST_QUERIES = 10

Verdict = Literal["passed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked.

    Args:
        labels: file of labels that somebody wants to use.
        gold: file of labels by people.
        floor: lowest kappa that the lower end of its interval may have.
        seen: files of pairs whose queries prompts were tuned on, or anything learned from.
    """

    labels: Path
    gold: Path
    floor: float
    seen: Sequence[Path] = ()


def gate_labels(gate: Gate) -> dict[str, Any]:
    """Agreement with people, and the verdict.

    Raises:
        ConfigError: the floor is no kappa.
        DataError: a file is broken.
    """
    if not -1 <= gate.floor <= 1:
        raise ConfigError(f"--floor {gate.floor}.", "Kappa lies between -1 and 1.")
    labels, gold = read_labels(gate.labels), read_labels(gate.gold)
    pairs = [pair for pair in gold if pair in labels]
    queries = sorted({query for query, _ in pairs})
    reason = _refusal(gate, len(pairs), queries)
    told = {
        "floor": gate.floor,
        "pairs": len(pairs),
        "queries": len(queries),
        "unlabelled": len(gold) - len(pairs),
    }
    if reason:
        return {"verdict": "refused", "reason": reason, **told}
    number = {query: place for place, query in enumerate(queries)}
    decided = np.array([labels[pair] for pair in pairs], np.bool_)
    found = Verdicts(
        np.array([gold[pair] for pair in pairs], np.bool_),
        decided.astype(np.float32),
        decided,
        np.array([number[query] for query, _ in pairs], np.int32),
    ).estimates()
    values = {name: found[name] for name in ("kappa", "precision", "recall")}
    low = values["kappa"].low
    verdict: Verdict = "passed" if low is not None and low >= gate.floor else "failed"
    ends = {name: [one.low, one.high] for name, one in values.items()}
    figures = {name: one.value for name, one in values.items()}
    return {"verdict": verdict, "reason": "", **told, **figures, "ci95": ends}


def _refusal(gate: Gate, count: int, queries: Sequence[str]) -> str:
    """Why nothing can be said; "" = it can."""
    for path in gate.seen:
        shared = {query for query, _ in read_pairs(path)} & set(queries)
        if shared:
            return f"{path} has {len(shared)} of the queries, as {min(shared)!r}"
    if count < FEWEST_PAIRS or len(queries) < FEWEST_QUERIES:
        return (
            f"{count} pairs of {len(queries)} queries have both labels; "
            f"{FEWEST_PAIRS} of {FEWEST_QUERIES} are needed"
        )
    return ""
