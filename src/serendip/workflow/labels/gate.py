"""``serendip judge gate``: do labels agree with people well enough to be used?

Only pairs of queries that nothing was tuned on or learned from count: what prompts were tuned on
stands beside them, the rest is said by whoever asks. Only the lower end of the interval decides:
with few pairs that end is low, and the answer is to judge more by hand. Draws of queries that all
agree have no width, so the end is that of the draws, or kappa with one more query that is judged
the wrong way round, whichever is lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.text import normalise
from serendip.errors import ConfigError
from serendip.evaluate.classification import Verdicts
from serendip.llm.prompt import Prompt, query_digest
from serendip.workflow.labels.agreement import kappa_with_one_more, numbered
from serendip.workflow.labels.pair_files import Pair, read_labels, read_pairs, read_prompts

FEWEST_QUERIES = 10
"""Queries with good pairs, and with bad ones, that are needed each."""
FEWEST_LABELLED = 0.9
"""Share of the gold that must have labels: those that are left out may be the hard ones."""

Verdict = Literal["passed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked.

    Args:
        labels: file of labels that somebody wants to use.
        gold: file of labels by people.
        floor: lowest kappa that the lower end of its interval may have.
        seen: files of pairs whose queries anything was tuned on or learned from, beside what the
            prompts of the labels say of themselves.
    """

    labels: Path
    gold: Path
    floor: float
    seen: Sequence[Path] = ()


def gate_labels(gate: Gate) -> dict[str, Any]:
    """Agreement with people, and the verdict.

    Raises:
        ConfigError: the floor is no kappa, or a prompt does not say what it was tuned on.
        DataError: a file is broken.
    """
    if not -1 <= gate.floor <= 1:
        raise ConfigError(f"--floor {gate.floor}.", "Kappa lies between -1 and 1.")
    labels, gold = read_labels(gate.labels), read_labels(gate.gold)
    pairs = [pair for pair in gold if pair in labels]
    reason = _refusal(gate, gold, pairs)
    told = {
        "floor": gate.floor,
        "pairs": len(pairs),
        "queries": len({query for query, _ in pairs}),
        "unlabelled": len(gold) - len(pairs),
    }
    if reason:
        return {"verdict": "refused", "reason": reason, **told}
    is_bad = np.array([gold[pair] for pair in pairs], np.bool_)
    decided = np.array([labels[pair] for pair in pairs], np.bool_)
    units = numbered(pairs)
    found = Verdicts(is_bad, decided.astype(np.float32), decided, units).estimates()
    values = {name: found[name] for name in ("kappa", "precision", "recall")}
    ends = {name: [one.low, one.high] for name, one in values.items()}
    low = min(values["kappa"].low or 0.0, kappa_with_one_more(is_bad, decided, units))
    ends["kappa"][0] = low
    verdict: Verdict = "passed" if low >= gate.floor else "failed"
    figures = {name: one.value for name, one in values.items()}
    return {"verdict": verdict, "reason": "", **told, **figures, "ci95": ends}


def _refusal(gate: Gate, gold: dict[Pair, bool], pairs: Sequence[Pair]) -> str:
    """Why nothing can be said; "" = it can."""
    asked = {normalise(query) for query, _ in pairs}
    for path in gate.seen:
        shared = {normalise(query) for query, _ in read_pairs(path)} & asked
        if shared:
            return f"{path} has {len(shared)} of the queries, as {min(shared)!r}"
    for prompt in read_prompts(gate.labels):
        tuned = Prompt.named(prompt).tuned_on()
        shared = {query for query in asked if query_digest(query) in tuned}
        if shared:
            return f"{prompt} was tuned on {len(shared)} of the queries, as {min(shared)!r}"
    if len(pairs) < FEWEST_LABELLED * len(gold):
        return f"{len(pairs)} of {len(gold)} judged pairs have labels"
    for name, is_bad in (("good", False), ("bad", True)):
        count = len({pair[0] for pair in pairs if gold[pair] == is_bad})
        if count < FEWEST_QUERIES:
            return f"{count} queries have {name} pairs; {FEWEST_QUERIES} are needed"
    return ""
