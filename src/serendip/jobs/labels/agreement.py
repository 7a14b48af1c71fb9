"""Agreement of labellers: Cohen's kappa with a 95 % bootstrap interval over queries.

``serendip judge gate`` decides by it whether labels may be used: the lower bound of kappa against
labels by people must reach a floor. With few pairs the bound is low, and more pairs must be
labelled by hand. Queries that a prompt was tuned on, or that were used for training, are refused;
the former are stored with the prompt, the latter are given by the user. The bootstrap interval of
perfect agreement has no width, so the lower bound is the smaller one of the bootstrap bound and
kappa after adding one query with opposite labels.
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
    """Agreement of two labellers on the pairs that both labelled.

    Args:
        pairs: number of these pairs.
        queries: number of their queries.
        agreed: share of the pairs with the same label; 0 without pairs.
        kappa: Cohen's kappa; None if it is undefined, that is without pairs or if all labels of
            both are the same.
        ci95: interval of kappa; None if kappa is.
    """

    pairs: int
    queries: int
    agreed: float
    kappa: float | None
    ci95: tuple[float, float] | None


def measure_agreement(left: Mapping[Pair, bool], right: Mapping[Pair, bool]) -> Agreement:
    """Agreement of two sets of labels (pair -> is bad) on their common pairs."""
    pairs = [pair for pair in left if pair in right]
    if not pairs:
        return Agreement(0, 0, 0.0, None, None)
    first, second = (
        np.array([labels[pair] for pair in pairs], np.bool_) for labels in (left, right)
    )
    units = number_queries(pairs)
    queries, agreed = int(units.max()) + 1, float((first == second).mean())
    if len(set(first.tolist()) | set(second.tolist())) == 1:
        return Agreement(len(pairs), queries, agreed, None, None)
    kappa = BinaryPredictions(first, second.astype(np.float32), second, units).estimates()["kappa"]
    low = min(kappa.low or 0.0, compute_pessimistic_kappa(first, second, units))
    return Agreement(len(pairs), queries, agreed, kappa.value, (low, kappa.high or 0.0))


def compare_label_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Agreement of each two files of labels.

    Raises:
        ConfigError: there are less than two files.
        DataError: a file is broken.
    """
    if len(paths) < 2:
        raise ConfigError(
            f"agreement needs at least two files of labels, not {len(paths)}.",
            "Add --labels for each file.",
        )
    labels = [(path, read_labels(path)) for path in paths]
    return [
        {"labels": [str(left), str(right)], **asdict(measure_agreement(left_labels, right_labels))}
        for (left, left_labels), (right, right_labels) in combinations(labels, 2)
    ]


def number_queries(pairs: Sequence[Pair]) -> IntArray:
    """Number the queries of pairs from 0: (P,) int32."""
    queries = sorted({query for query, _ in pairs})
    numbers = {query: number for number, query in enumerate(queries)}
    return np.array([numbers[query] for query, _ in pairs], np.int32)


def compute_pessimistic_kappa(is_bad: BoolArray, decided: BoolArray, units: IntArray) -> float:
    """Kappa after adding an average query whose labels are all opposite.

    A lower bound for small samples, where a bootstrap of perfect agreement has no width.
    """
    size = max(2, round(len(units) / (int(units.max()) + 1)))
    more = np.arange(size) < max(1, round(size * is_bad.mean()))
    return kappa_of(np.concatenate([is_bad, more]), np.concatenate([decided, ~more]))


FEWEST_QUERIES = 10
"""Minimum number of queries with good pairs, and of queries with bad pairs."""
MIN_LABELLED_SHARE = 0.9
"""Minimum share of gold pairs with labels: pairs without a label may be the hard ones."""

Verdict = Literal["passed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Files and threshold of a run of the gate.

    Args:
        labels: file of the labels to be used.
        gold: file of labels by people.
        floor: minimum of the lower bound of kappa.
        seen: files of pairs whose queries were used for training or tuning, besides those stored
            with the prompts.
    """

    labels: Path
    gold: Path
    floor: float
    seen: Sequence[Path] = ()


def gate_labels(gate: Gate) -> dict[str, Any]:
    """Measure the agreement of labels with people and return it with the verdict.

    Raises:
        ConfigError: the floor is not between -1 and 1, or the tuning queries of a prompt are
            unknown.
        DataError: a file is broken.
    """
    if not -1 <= gate.floor <= 1:
        raise ConfigError(
            f"--floor {gate.floor} is not a kappa.", "Choose a value between -1 and 1."
        )
    labels, gold = read_labels(gate.labels), read_labels(gate.gold)
    pairs = [pair for pair in gold if pair in labels]
    reason = _find_refusal(gate, gold, pairs)
    facts = {
        "floor": gate.floor,
        "pairs": len(pairs),
        "queries": len({query for query, _ in pairs}),
        "unlabelled": len(gold) - len(pairs),
    }
    if reason:
        return {"verdict": "refused", "reason": reason, **facts}
    is_bad = np.array([gold[pair] for pair in pairs], np.bool_)
    decided = np.array([labels[pair] for pair in pairs], np.bool_)
    units = number_queries(pairs)
    estimates = BinaryPredictions(is_bad, decided.astype(np.float32), decided, units).estimates()
    reported = {name: estimates[name] for name in ("kappa", "precision", "recall")}
    intervals = {name: [estimate.low, estimate.high] for name, estimate in reported.items()}
    low = min(reported["kappa"].low or 0.0, compute_pessimistic_kappa(is_bad, decided, units))
    intervals["kappa"][0] = low
    verdict: Verdict = "passed" if low >= gate.floor else "failed"
    values = {name: estimate.value for name, estimate in reported.items()}
    return {"verdict": verdict, "reason": "", **facts, **values, "ci95": intervals}


def _find_refusal(gate: Gate, gold: dict[Pair, bool], pairs: Sequence[Pair]) -> str:
    """Reason why the labels cannot be evaluated; empty = they can."""
    queries = {normalise(query) for query, _ in pairs}
    for path in gate.seen:
        shared = {normalise(query) for query, _ in read_pairs(path)} & queries
        if shared:
            return f"{path} has {len(shared)} of the queries, as {min(shared)!r}"
    for prompt in read_prompts(gate.labels):
        tuned = Prompt.named(prompt).tuned_on()
        shared = {query for query in queries if query_digest(query) in tuned}
        if shared:
            return f"{prompt} was tuned on {len(shared)} of the queries, as {min(shared)!r}"
    if len(pairs) < MIN_LABELLED_SHARE * len(gold):
        return f"{len(pairs)} of {len(gold)} judged pairs have labels"
    for name, is_bad in (("good", False), ("bad", True)):
        count = len({pair[0] for pair in pairs if gold[pair] == is_bad})
        if count < FEWEST_QUERIES:
            return f"{count} queries have {name} pairs; {FEWEST_QUERIES} are needed"
    return ""
