"""Stable code numbers: new clusters take the numbers of the old clusters that they overlap most.

A new fit numbers the same groups differently, and tables trained per code would then describe other
groups. So new codes are assigned to old numbers such that the number of items in both clusters is
maximal (Kuhn 1955, the Hungarian method); distances of centroids break ties.

Shapes: N items, M common items, L levels, K codes per level, D vector size.
"""

from __future__ import annotations

import numpy as np

from serendip.data import Codebooks, IntArray, TimeArray


def match_codebooks(
    new: Codebooks, new_codes: IntArray, old: Codebooks, old_codes: IntArray
) -> tuple[Codebooks, IntArray]:
    """Renumber the codes of new codebooks like those of old ones, level by level.

    Levels that only one of them has keep their numbers, and so do codes beyond the smaller K.

    Args:
        new: newly fitted codebooks.
        new_codes: (M, L) codes by ``new`` of the common items; M may be 0.
        old: previous codebooks, possibly with other K, L or D.
        old_codes: (M, L') codes by ``old`` of the same items.

    Returns:
        the new codebooks in the order of their new numbers, and the number (L, K) of each code.
    """
    size = new.codebook_size
    numbers = np.tile(np.arange(size, dtype=np.int32), (new.num_levels, 1))
    centroids = new.centroids.copy()
    for level in range(min(new.num_levels, old.num_levels)):
        gain = _count_shared_items(new_codes[:, level], old_codes[:, level], size)  # (K, K)
        gain -= _scaled_distances(new, old, level)
        numbers[level] = _assign_numbers(gain)
        centroids[level, numbers[level]] = new.centroids[level]
    return Codebooks(centroids), numbers


def renumber(codes: IntArray, numbers: IntArray) -> IntArray:
    """Map codes (N, L) to the numbers (L, K) that ``match_codebooks`` returned."""
    return np.take_along_axis(numbers, codes.T, axis=1).T.astype(np.int32)


def _count_shared_items(new: IntArray, old: IntArray, size: int) -> TimeArray:
    """Count the items (K, K) with new code i and old code j; codes (M,) each."""
    table = np.zeros((size, size))
    in_range = old < size
    np.add.at(table, (new[in_range], old[in_range]), 1.0)
    return table


def _scaled_distances(new: Codebooks, old: Codebooks, level: int) -> TimeArray:
    """Squared distances (K, K) of centroids, scaled so that any K of them sum to less than 1."""
    size = new.codebook_size
    table = np.ones((size, size))
    if new.centroids.shape[2] == old.centroids.shape[2]:
        left = new.centroids[level].astype(np.float64)  # (K, D)
        right = old.centroids[level, :size].astype(np.float64)  # (K' or K, D)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b
        distances = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
        distances = np.maximum(distances, 0)
        table[:, : len(right)] = distances / max(float(distances.max()), 1e-12)
    return table / (size + 1)


def _assign_numbers(gain: TimeArray) -> IntArray:
    """Assign every new code (row) a different old number (column) with maximal total gain."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    numbers = np.empty(len(gain), np.int32)
    numbers[rows] = columns
    return numbers
