"""Metrics of lists.

- ``RankingMetric``: relevance of the first items. Two forms that agree where both apply:
  ``of_list`` (any number of relevant items, graded) and ``of_ranks`` (one relevant item each).
- ``coverage`` and ``gini``: exposure, one value for all lists together and its standard error: that
  of a jackknife over users, as a bootstrap draws some twice, and so has fewer distinct items.

Shapes: T requests, N items, L length of a list, R relevant items, D distinct items shown, U users.
"""

from __future__ import annotations

import math
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
class RankingMetric(ABC):
    """Metric of relevance of the first k items, 1 or more, per request, in [0, 1]; 1 is best."""

    name: ClassVar[str]
    k: int

    @property
    def label(self) -> str:
        """Label in reports, such as ``nDCG@10``."""
        return f"{self.name}@{self.k}"

    @abstractmethod
    def of_list(self, graded: Graded) -> float:
        """Compute the value of one list with any number of graded relevant items."""

    @abstractmethod
    def of_ranks(self, ranks: Values) -> Values:
        """Compute values (T,) for one relevant item per request, at ``ranks`` (inf = absent)."""


class NDCG(RankingMetric):
    """nDCG@k = DCG / IDCG, normalised discounted cumulative gain with linear gains.

    ::

        DCG  = sum over ranks r = 1..k of  gain(r) / log2(r + 1)
        IDCG = the same sum over the min(k, |R|) largest gains of all relevant items

    Libraries whose IDCG always has k terms give .2201 where this (and trec_eval, ranx,
    scikit-learn) gives .6131: two relevant items, one of them returned first.

    Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques". Difference:
    linear gains as in trec_eval and the discount log2(r + 1) from the first rank on.

    >>> round(NDCG(10).of_list(grade(["a", "x"], {"a": 1, "b": 1})), 4)
    0.6131
    """

    name = "nDCG"

    def of_list(self, graded: Graded) -> float:
        """DCG of the first k divided by that of the best order of all relevant items."""
        return _dcg(graded.gains[: self.k]) / _dcg(graded.ideal[: self.k])

    def of_ranks(self, ranks: Values) -> Values:
        """1 / log2(rank + 1) if the target is among the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / np.log2(ranks + 1.0), 0.0)


def _dcg(gains: Values) -> float:
    return float(gains @ (1.0 / np.log2(np.arange(2.0, len(gains) + 2.0))))


class Recall(RankingMetric):
    """Recall@k = |L_k intersect R| / |R|, as in trec_eval, even if R has more than k items."""

    name = "Recall"

    def of_list(self, graded: Graded) -> float:
        """Share of the relevant items that are among the first k."""
        return float(np.count_nonzero(graded.gains[: self.k]) / len(graded.ideal))

    def of_ranks(self, ranks: Values) -> Values:
        """1 if the target is among the first k, else 0."""
        return (ranks <= self.k).astype(np.float64)


class MRR(RankingMetric):
    """MRR@k = 1 / (rank of the first relevant item) if that rank is at most k, else 0."""

    name = "MRR"

    def of_list(self, graded: Graded) -> float:
        """Reciprocal rank of the first relevant item among the first k, else 0."""
        hits = np.flatnonzero(graded.gains[: self.k])
        return float(1.0 / (hits[0] + 1)) if len(hits) else 0.0

    def of_ranks(self, ranks: Values) -> Values:
        """1 / rank if the target is among the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / ranks, 0.0)


def coverage(lists: IntArray, groups: Groups, catalogue_size: int, k: int) -> tuple[float, float]:
    """Distinct items among the first k of lists (T, >= k) / items of the eligible catalogue.

    It grows with the number of lists: compare only systems with the same requests.

    Standard error: jackknife over users, ``groups`` (T,). Leaving out a user removes the items
    shown only to this user, so se^2 = (U - 1) / U * sum over users of (d_u - mean d)^2 / N^2,
    d_u = items shown only to u.
    """
    items, users = shown_items(lists, groups, k)
    num_users = int(groups.max()) + 1
    pairs = np.unique(items.astype(np.int64) * num_users + users)  # distinct (item, user)
    distinct, first, viewers = np.unique(pairs // num_users, return_index=True, return_counts=True)
    exclusive = np.bincount(pairs[first[viewers == 1]] % num_users, minlength=num_users)  # d_u
    variance = float(((exclusive - exclusive.mean()) ** 2).sum()) * (num_users - 1) / num_users
    return len(distinct) / catalogue_size, variance**0.5 / catalogue_size


def gini(lists: IntArray, groups: Groups, catalogue_size: int, k: int) -> tuple[float, float]:
    """Gini index of exposure: 0 = every item is shown equally often, near 1 = one is always shown.

    ::

        G = sum over i of (2 r_i - N - 1) x_i / (N * sum of x)

    x_i = times that item i is shown among the first k of lists (T, >= k), r_i = its rank by x
    ascending (ties: mean rank), N = the *whole* eligible catalogue, including items that are never
    shown. NaN if nothing is shown.

    Standard error: infinitesimal jackknife over users, ``groups`` (T,). G does not change if all x
    are scaled, so the influence of user u is the sum of dG/dx_i over the items shown to u, and se^2
    the sum of squares.
    """
    items, users = shown_items(lists, groups, k)
    if not len(items):
        return math.nan, math.nan
    _, index, counts = np.unique(items, return_inverse=True, return_counts=True)
    slopes = 2.0 * _mean_ranks(counts, catalogue_size) - catalogue_size - 1.0  # (D,)
    total = float(counts.sum())
    value = float(slopes @ counts) / (catalogue_size * total)
    gradient = (slopes / catalogue_size - value) / total  # dG/dx_i (D,)
    influence = np.bincount(users, weights=gradient[index])  # (U,)
    return value, float((influence**2).sum()) ** 0.5


def _mean_ranks(counts: Groups, catalogue_size: int) -> Values:
    _, index, size = np.unique(counts, return_inverse=True, return_counts=True)
    last = np.cumsum(size) + (catalogue_size - len(counts))  # rank of the last of each tie
    return np.asarray((last - (size - 1) / 2.0)[index], dtype=np.float64)


def mean_over_lists(lists: IntArray, weights: Values, k: int) -> Values:
    """Mean of ``weights`` (N,) over the first k items of each list: (T,); NaN for empty lists."""
    top = lists[:, :k]  # (T, k)
    is_item = top != PADDING
    sums = np.where(is_item, weights[np.where(is_item, top, 0)], 0.0).sum(axis=1)
    sizes = is_item.sum(axis=1)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)


def shown_items(lists: IntArray, groups: Groups, k: int) -> tuple[IntArray, Groups]:
    """Item and user of every impression, (V,) each, among the first k of lists (T, L)."""
    top = lists[:, :k]  # (T, k)
    rows, columns = np.nonzero(top != PADDING)
    return top[rows, columns], groups[rows]
