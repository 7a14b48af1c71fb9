"""How far labels of the same pairs agree: Cohen's kappa, with an interval that draws queries.

``serendip judge gate``: do labels agree with people well enough to be used?

Only pairs of queries that nothing was tuned on or learned from count: what prompts were tuned on
stands beside them, the rest is said by whoever asks. Only the lower end of the interval decides:
with few pairs that end is low, and the answer is to judge more by hand. Draws of queries that all
agree have no width, so the end is that of the draws, or kappa with one more query that is judged
the wrong way round, whichever is lower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.text import normalise
from serendip.errors import ConfigError
from serendip.evaluate.classification import BinaryPredictions, kappa_of
from serendip.jobs.labels.pair_files import Pair, read_labels, read_pairs, read_prompts
from serendip.llm.prompts import Prompt, query_digest


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two who labelled the same pairs.

    Args:
        pairs: that both labelled.
        queries: of these pairs.
        agreed: share of the pairs with the same label; 0 where there are none.
        kappa: agreement beyond chance, 1 = always; None = all labels of both are the same word, or
            there are none, and nothing can be said.
        ci95: its interval; None with it.
    """

    pairs: int
    queries: int
    agreed: float
    kappa: float | None
    ci95: tuple[float, float] | None


def agreement(one: Mapping[Pair, bool], other: Mapping[Pair, bool]) -> Agreement:
    """Of labels (pair -> is it bad) with others; pairs that only one of them has do not count."""
    pairs = [pair for pair in one if pair in other]
    if not pairs:
        return Agreement(0, 0, 0.0, None, None)
    first, second = (np.array([said[pair] for pair in pairs], np.bool_) for said in (one, other))
    units = numbered(pairs)
    queries, agreed = int(units.max()) + 1, float((first == second).mean())
    if len(set(first.tolist()) | set(second.tolist())) == 1:
        return Agreement(len(pairs), queries, agreed, None, None)
    found = BinaryPredictions(first, second.astype(np.float32), second, units).estimates()["kappa"]
    low = min(found.low or 0.0, kappa_with_one_more(first, second, units))
    return Agreement(len(pairs), queries, agreed, found.value, (low, found.high or 0.0))


def agreements(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Of each two files of labels.

    Raises:
        ConfigError: there are no two files.
        DataError: a file is broken.
    """
    if len(paths) < 2:
        raise ConfigError("agreement needs two files.", "Name each with --labels.")
    labels = [(path, read_labels(path)) for path in paths]
    return [
        {"labels": [str(path), str(other)], **asdict(agreement(said, others))}
        for (path, said), (other, others) in combinations(labels, 2)
    ]


def numbered(pairs: Sequence[Pair]) -> IntArray:
    """(P,) int32: the number of each pair's query."""
    number = {query: place for place, query in enumerate(sorted({query for query, _ in pairs}))}
    return np.array([number[query] for query, _ in pairs], np.int32)


def kappa_with_one_more(is_bad: BoolArray, decided: BoolArray, units: IntArray) -> float:
    """Kappa if there were one more query, like the others but judged the wrong way round.

    Draws of queries that all agree have no width; they prove less than it seems.
    """
    size = max(2, round(len(units) / (int(units.max()) + 1)))
    more = np.arange(size) < max(1, round(size * is_bad.mean()))
    return kappa_of(np.concatenate([is_bad, more]), np.concatenate([decided, ~more]))


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
    found = BinaryPredictions(is_bad, decided.astype(np.float32), decided, units).estimates()
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
