"""How far labels of the same pairs agree: Cohen's kappa, with an interval that draws queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.errors import ConfigError
from serendip.evaluate.classification import Verdicts, kappa_of
from serendip.workflow.labels.pair_files import Pair, read_labels


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
    found = Verdicts(first, second.astype(np.float32), second, units).estimates()["kappa"]
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
