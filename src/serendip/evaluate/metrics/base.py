"""The shapes of metrics; each metric itself has a file of its own.

- ``RankingMetric``: is what is relevant near the top? Two forms that agree where both apply:
  ``of_list`` (any number of relevant items, graded) and ``of_ranks`` (one relevant item each).
- ``ListMetric``: a value per list from what is known of its items.
- ``ExposureMetric``: one value for all lists together.
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
    """One returned list as its judge sees it.

    Args:
        gains: (L,) float64 gain of each returned item in order; 0 where it is not relevant.
        ideal: (R,) float64 gains of all relevant items, largest first; never empty.
    """

    gains: Values
    ideal: Values


def grade(ranked: Sequence[Hashable], relevance: Mapping[Hashable, float]) -> Graded:
    """Judge a list by the gains of the relevant items; gains of 0 and less are not relevant.

    Raises:
        DataError: an item is returned twice, or nothing is relevant (such a query cannot be
            judged: leave it out of the denominator and say how many were).
    """
    if len(set(ranked)) != len(ranked):
        twice = next(item for place, item in enumerate(ranked) if item in ranked[:place])
        raise DataError(f"item {twice!r} is returned twice.", "Drop duplicates before judging.")
    positive = sorted((gain for gain in relevance.values() if gain > 0), reverse=True)
    if not positive:
        raise DataError("no item is relevant.", "Leave the query out, and count it as left out.")
    gains = [max(float(relevance.get(item, 0.0)), 0.0) for item in ranked]
    return Graded(np.array(gains, dtype=np.float64), np.array(positive, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Metric(ABC):
    """A metric at a cutoff.

    Args:
        k: how many items from the top are looked at; 1 or more.
    """

    name: ClassVar[str]
    k: int

    @property
    def label(self) -> str:
        """How reports write it: ``nDCG@10``."""
        return f"{self.name}@{self.k}"


class RankingMetric(Metric):
    """In [0, 1]; 1 is perfect."""

    @abstractmethod
    def of_list(self, graded: Graded) -> float:
        """The value of one list against any number of graded relevant items."""

    @abstractmethod
    def of_ranks(self, ranks: Values) -> Values:
        """Values (T,) where each of T lists has one relevant item at ``ranks`` (inf = absent)."""


class ListMetric(Metric):
    """A value per list."""

    @abstractmethod
    def of_lists(self, lists: IntArray, weights: Values) -> Values:
        """Values (T,) of lists (T, >= k) from one number per item, ``weights`` (N,)."""


class ExposureMetric(Metric):
    """A value of all lists together, with a standard error over users."""

    @abstractmethod
    def of_exposure(
        self, lists: IntArray, groups: Groups, catalogue_size: int
    ) -> tuple[float, float]:
        """(value, standard error) of lists (T, >= k).

        The error is that of a jackknife over users, ``groups`` (T,): a bootstrap would draw some
        users twice and so show fewer distinct items than there are. NaN where nothing is shown.
        """


def first_k(lists: IntArray, k: int) -> IntArray:
    """The first k columns.

    Raises:
        DataError: the lists are shorter than k.
    """
    if lists.shape[1] < k:
        raise DataError(f"lists of {lists.shape[1]} items cannot be judged at {k}.", "Pad with -1.")
    return lists[:, :k]


def shown_items(lists: IntArray, groups: Groups, k: int) -> tuple[IntArray, Groups]:
    """(items, users) of every impression within the first k, without padding."""
    top = first_k(lists, k)
    rows, places = np.nonzero(top != PADDING)
    return top[rows, places], groups[rows]
