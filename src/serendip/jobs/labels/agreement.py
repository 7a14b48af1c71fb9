"""Agreement of labels of the same pairs (Cohen's kappa), and the gate that requires it.

``serendip judge agreement`` compares files of labels. The gate decides whether labels by an LLM
agree with people well enough to be used.

The gate counts only pairs of queries that nothing was tuned or trained on, which the caller names.
The lower end of kappa's
interval decides: with few pairs it is low, and more labels by people raise it. The interval is a
bootstrap over queries; if all queries agree it has no width, so its lower end is at most the kappa
with one more query whose labels are all wrong.

Cohen 1960, "A coefficient of agreement for nominal scales".

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.text import normalise
from serendip.errors import ConfigError
from serendip.evaluate.classification import BinaryPredictions, cohen_kappa
from serendip.evaluate.decision import Decision
from serendip.evaluate.intervals import Estimate
from serendip.jobs.labels.pair_files import Pair, read_labels, read_pairs


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two labellers.

    Args:
        pairs: number of pairs that both labelled.
        queries: number of their queries.
        agreed: share of the pairs with the same label; 0 without pairs.
        kappa: agreement beyond chance, 1 = always; None = not defined, as there are no pairs, or
            all labels of both are equal.
        ci95: its interval; None with it.
    """

    pairs: int
    queries: int
    agreed: float = 0.0
    kappa: float | None = None
    ci95: tuple[float, float] | None = None


def measure_agreement(labels: Mapping[Pair, bool], others: Mapping[Pair, bool]) -> Agreement:
    """Agreement of two mappings pair -> is it irrelevant, on the pairs that both have."""
    pairs = [pair for pair in labels if pair in others]
    if not pairs:
        return Agreement(0, 0)
    first, second = (
        np.array([by_pair[pair] for pair in pairs], np.bool_) for by_pair in (labels, others)
    )
    groups = number_queries(pairs)
    counts = len(pairs), int(groups.max()) + 1, float((first == second).mean())
    if len(set(first.tolist()) | set(second.tolist())) == 1:
        return Agreement(*counts)
    found = BinaryPredictions(first, second.astype(np.float32), second, groups).estimates()
    kappa = found["kappa"]
    low = min(kappa.low or 0.0, compute_cautious_kappa(first, second, groups))
    return Agreement(*counts, kappa.value, (low, kappa.high or 0.0))


def compare_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Agreement of each two files of labels.

    Raises:
        ConfigError: fewer than two files are given.
        DataError: a file is damaged.
    """
    if len(paths) < 2:
        raise ConfigError("agreement needs two files.", "Name each with --labels.")
    files = [(path, read_labels(path)) for path in paths]
    rows = []
    for (path, labels), (other, others) in combinations(files, 2):
        found = measure_agreement(labels, others)
        rows.append({"labels": [str(path), str(other)], **asdict(found)})
    return rows


def number_queries(pairs: Sequence[Pair]) -> IntArray:
    """(P,) int32 number of each pair's query."""
    numbers = {query: place for place, query in enumerate(sorted({query for query, _ in pairs}))}
    return np.array([numbers[query] for query, _ in pairs], np.int32)


def compute_cautious_kappa(
    is_irrelevant: BoolArray, is_filtered: BoolArray, groups: IntArray
) -> float:
    """Kappa with one more query of average size whose labels are all wrong.

    A bootstrap over queries that all agree has no width, although few queries prove little.
    """
    size = max(2, round(len(groups) / (int(groups.max()) + 1)))
    extra = np.arange(size) < max(1, round(size * is_irrelevant.mean()))
    return cohen_kappa(
        np.concatenate([is_irrelevant, extra]), np.concatenate([is_filtered, ~extra])
    )


NAME = "labels against gold labels (kappa)"

MIN_QUERIES = 10
"""Least number of queries with relevant items, and of queries with irrelevant ones."""
MIN_LABELLED_SHARE = 0.9
"""Share of the gold labels that must have a label: those without one may be the hard ones."""


def gate_labels(path: Path, gold_path: Path, floor: float, seen: Sequence[Path] = ()) -> Decision:
    """Whether labels agree with gold labels, by Cohen's kappa.

    Args:
        path: file of labels that are to be used.
        gold_path: file of labels by people.
        floor: lowest lower end of kappa's interval that passes.
        seen: files of pairs whose queries something was tuned or trained on.

    Raises:
        ConfigError: the floor is not between -1 and 1.
        DataError: a file is damaged.
    """
    if not -1 <= floor <= 1:
        raise ConfigError(f"--floor is {floor}.", "Kappa lies between -1 and 1.")
    labels, gold = read_labels(path), read_labels(gold_path)
    pairs = [pair for pair in gold if pair in labels]
    if reason := _refusal(seen, gold, pairs):
        return Decision(NAME, False, n=len(pairs), reason=reason)
    found = measure_agreement(gold, labels)
    low, high = found.ci95 or (-1.0, 1.0)
    kappa = Estimate(-1.0 if found.kappa is None else found.kappa, low, high, found.pairs)
    return Decision.of(NAME, kappa, floor, f"the lower end must be above {floor:g}")


def _refusal(seen: Sequence[Path], gold: Mapping[Pair, bool], pairs: Sequence[Pair]) -> str:
    """Why no verdict is possible; "" if one is."""
    queries = {normalise(query) for query, _ in pairs}
    for path in seen:
        shared = {normalise(query) for query, _ in read_pairs(path)} & queries
        if shared:
            return f"{path} has {len(shared)} of the queries, such as {min(shared)!r}"
    if len(pairs) < MIN_LABELLED_SHARE * len(gold):
        return f"{len(pairs)} of {len(gold)} gold pairs have labels"
    for kind, is_irrelevant in (("relevant", False), ("irrelevant", True)):
        count = len({pair[0] for pair in pairs if gold[pair] == is_irrelevant})
        if count < MIN_QUERIES:
            return f"{count} queries have {kind} items; {MIN_QUERIES} are needed"
    return ""
