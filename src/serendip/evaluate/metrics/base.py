"""Base classes of metrics; each metric has its own file.

- ``RankingMetric``: relevance of the first items. Two forms that agree where both apply:
  ``of_list`` (any number of relevant items, graded) and ``of_ranks`` (one relevant item each).
- ``ListMetric``: a value per list from properties of its items.
- ``ExposureMetric``: one value for all lists together.

Shapes: T requests, N items, L length of a list, R relevant items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from serendip.data.arrays import IntArray
from serendip.errors import DataError
from serendip.evaluate.runs import PADDING, Groups, Values


@dataclass(frozen=True, slots=True, eq=False)
class Graded:
    """Graded relevance of a returned list.

    Args:
        gains: (L,) float64 gain of each returned item in order; 0 = not relevant.
        ideal: (R,) float64 gains of all relevant items, largest first; never empty.
    """

    gains: Values
    ideal: Values


def grade(ranked: Sequence[Hashable], relevance: Mapping[Hashable, float]) -> Graded:
    """Grade a list by the gains of relevant items; items with gains <= 0 are not relevant.

    Raises:
        DataError: an item is returned twice, or no item is relevant (metrics of such a query are
            undefined: leave it out of the mean and report how many were left out).
    """
    if len(set(ranked)) != len(ranked):
        repeated = next(item for index, item in enumerate(ranked) if item in ranked[:index])
        raise DataError(f"item {repeated!r} is returned twice.", "Drop duplicates before grading.")
    positive = sorted((gain for gain in relevance.values() if gain > 0), reverse=True)
    if not positive:
        raise DataError("no item is relevant.", "Leave the query out, and count it as left out.")
    gains = [max(float(relevance.get(item, 0.0)), 0.0) for item in ranked]
    return Graded(np.array(gains, dtype=np.float64), np.array(positive, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Metric(ABC):
    """Metric with a cut-off.

    Args:
        k: number of first items that count; 1 or more.
    """

    name: ClassVar[str]
    k: int

    @property
    def label(self) -> str:
        """Label in reports, such as ``nDCG@10``."""
        return f"{self.name}@{self.k}"


class RankingMetric(Metric):
    """Metric of relevance per request, in [0, 1]; 1 is best."""

    @abstractmethod
    def of_list(self, graded: Graded) -> float:
        """Compute the value of one list with any number of graded relevant items."""

    @abstractmethod
    def of_ranks(self, ranks: Values) -> Values:
        """Compute values (T,) for one relevant item per request, at ``ranks`` (inf = absent)."""


class ListMetric(Metric):
    """Metric per list that needs no relevance."""

    @abstractmethod
    def of_lists(self, lists: IntArray, weights: Values) -> Values:
        """Compute values (T,) of lists (T, >= k) from ``weights`` (N,) of the items."""


class ExposureMetric(Metric):
    """Metric of all lists together, with a standard error over users."""

    @abstractmethod
    def of_exposure(
        self, lists: IntArray, groups: Groups, catalogue_size: int
    ) -> tuple[float, float]:
        """Compute value and standard error of lists (T, >= k); NaN if nothing is shown.

        The error is that of a jackknife over users, ``groups`` (T,): a bootstrap draws some users
        twice, and so has fewer distinct items.
        """


def first_k(lists: IntArray, k: int) -> IntArray:
    """Keep the first k columns of lists (T, L).

    Raises:
        DataError: the lists are shorter than k.
    """
    if lists.shape[1] < k:
        raise DataError(f"lists of {lists.shape[1]} items cannot be judged at {k}.", "Pad with -1.")
    return lists[:, :k]


def mean_over_lists(lists: IntArray, weights: Values, k: int) -> Values:
    """Mean of ``weights`` (N,) over the first k items of each list: (T,); NaN for empty lists."""
    top = first_k(lists, k)  # (T, k)
    is_item = top != PADDING
    sums = np.where(is_item, weights[np.where(is_item, top, 0)], 0.0).sum(axis=1)
    sizes = is_item.sum(axis=1)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)


def shown_items(lists: IntArray, groups: Groups, k: int) -> tuple[IntArray, Groups]:
    """Item and user of every impression, (V,) each, among the first k of lists (T, L)."""
    top = first_k(lists, k)  # (T, k)
    rows, columns = np.nonzero(top != PADDING)
    return top[rows, columns], groups[rows]


def require_catalogue(num_shown: int, catalogue_size: int) -> None:
    """Refuse a catalogue that is smaller than the number of distinct items that are shown.

    Raises:
        DataError: it is.
    """
    if num_shown > catalogue_size:
        raise DataError(
            f"{num_shown} items are shown of a catalogue of {catalogue_size}.",
            "Give the size of the whole catalogue.",
        )
