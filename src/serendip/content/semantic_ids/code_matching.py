"""Code numbers that survive a rebuild: new clusters take the numbers of the old ones they resemble.

Fitting again gives the same groups other numbers. Tables trained per code would then describe
strangers, so every new code takes the number of the old code with which it shares most items
(Kuhn 1955, the Hungarian method); where no items speak, the nearer centroid decides.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.semantic_ids import Codebooks


def match_codebooks(
    new: Codebooks, new_codes: IntArray, old: Codebooks, old_codes: IntArray
) -> tuple[Codebooks, IntArray]:
    """Renumber new codebooks after old ones, level by level.

    Levels that only one of the two has keep their numbers; so do codes beyond the smaller codebook.

    Args:
        new: fitted now.
        new_codes: (M, L) codes by ``new`` of the items that both know; M may be 0.
        old: fitted before, possibly of other K, L or D.
        old_codes: (M, L') codes by ``old`` of the same items.

    Returns:
        the new codebooks in the order of the old numbers, and (L, K) the number of each new code.
    """
    size = new.codebook_size
    numbers = np.tile(np.arange(size, dtype=np.int32), (new.num_levels, 1))
    centroids = new.centroids.copy()
    for level in range(min(new.num_levels, old.num_levels)):
        gain = _shared_items(new_codes[:, level], old_codes[:, level], size)
        gain -= _distances(new, old, level)
        numbers[level] = _best_numbers(gain)
        centroids[level, numbers[level]] = new.centroids[level]
    return Codebooks(centroids, new.alignment), numbers


def renumber(codes: IntArray, numbers: IntArray) -> IntArray:
    """Codes (N, L) under the numbers (L, K) that ``match_codebooks`` gave."""
    return np.take_along_axis(numbers, codes.T, axis=1).T.astype(np.int32)


def _shared_items(new: IntArray, old: IntArray, size: int) -> TimeArray:
    """(K, K) items that have new code i and had old code j."""
    table = np.zeros((size, size))
    within = old < size
    np.add.at(table, (new[within], old[within]), 1.0)
    return table


def _distances(new: Codebooks, old: Codebooks, level: int) -> TimeArray:
    """(K, K) squared distances, so small that all together weigh less than one item."""
    size = new.codebook_size
    table = np.ones((size, size))
    if new.centroids.shape[2] == old.centroids.shape[2]:
        left = new.centroids[level].astype(np.float64)
        right = old.centroids[level, :size].astype(np.float64)
        apart = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
        apart = np.maximum(apart, 0)
        table[:, : len(right)] = apart / max(float(apart.max()), 1e-12)
    return table / (size + 1)


def _best_numbers(gain: TimeArray) -> IntArray:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    numbers = np.empty(len(gain), np.int32)
    numbers[rows] = columns
    return numbers
