"""Content neighbours: the nearest items by content, as a sparse weight matrix.

Through it, items use the behaviour of similar ones. Up to ``EXACT_COSINES`` all cosines are
computed. Above that, an inverted file bounds the work: items lie in lists around centroids, and a
row is compared with the lists whose centroids are nearest to it. All rows that probe a list are
compared with it in one matrix product. Lists are chosen in the main directions of the vectors;
cosines are those of whole vectors.

Shapes: M rows, N items of the catalogue, D vector size, R size in the main directions, L lists, P
lists probed per row, K items kept of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serendip.data import BoolArray, FloatArray, IntArray, dot_rows
from serendip.models.linalg import (
    Sparse,
    keep_top_entries,
    keep_top_per_row,
    main_directions,
    scale_rows,
    stack_rows,
    to_csr,
)
from serendip.runtime.threads import num_threads

EXACT_COSINES = 400_000_000
"""Largest M x N for which all cosines are computed: 20,000 items compared with one another."""

_POWER = 4
"""Exponent of the cosine in a neighbour's weight, so that the few nearest outweigh the others."""

_ROWS_PER_BLOCK = 1024
"""Bounds memory of the exact search: blocks of dense rows are (1024, N)."""

_ROWS_PER_SEARCH = 65_536
"""Bounds memory of the approximate search: 8 bytes per row, probe and item that is kept."""

_LISTS_PER_ROOT = 3
"""L = this times sqrt(N): choosing lists and comparing with their items cost about the same."""

_NUM_PROBES = 10
_NUM_DIRECTIONS = 128
_SAMPLES_PER_LIST = 32
_NUM_ITERATIONS = 6


def find_content_neighbours(
    vectors: FloatArray,
    numbers: IntArray,
    catalogue: FloatArray,
    count: int,
    near: IntArray | None = None,
    allowed: BoolArray | None = None,
) -> Sparse:
    """Find the nearest catalogue items of each vector, weighted by cosine^4: (M, N), rows sum to 1.

    Vectors (M, D) and the catalogue's (N, D) have length 1, or 0: these have no neighbours. No item
    is its own neighbour; numbers (M,) outside [0, N) are items that are not in the catalogue.
    ``near`` (M, C) int32 are the items that each vector is compared with, padded with -1; None =
    all N. ``allowed`` (N,) items may be neighbours; None = all. A row without positive cosines is
    empty.

    Above ``EXACT_COSINES`` a few of the neighbours can be the next nearest ones; the same input has
    the same output.
    """
    if near is not None:
        found = _search_near(vectors, numbers, catalogue, count, near, allowed)
    elif len(vectors) * len(catalogue) <= EXACT_COSINES:
        found = _search_all(vectors, numbers, catalogue, count, allowed)
    else:
        found = _search_lists(vectors, numbers, catalogue, count, allowed)
    return _normalise_rows(found)


def _search_near(
    vectors: FloatArray,
    numbers: IntArray,
    catalogue: FloatArray,
    count: int,
    near: IntArray,
    allowed: BoolArray | None,
) -> Sparse:
    width = len(catalogue)
    columns, values = [near[:0, 0]], [vectors[:0, 0]]
    for vector, number, items in zip(vectors, numbers, near, strict=True):
        items = items[(items >= 0) & (items < width) & (items != number)]
        items = items if allowed is None else items[allowed[items]]
        cosines = catalogue[items] @ vector  # (C,)
        best = np.flatnonzero(cosines > 0)
        if len(best) > count:
            best = best[np.argpartition(-cosines[best], count - 1)[:count]]
        best = best[np.argsort(items[best])]
        columns.append(items[best])
        values.append(cosines[best])
    starts = np.cumsum([len(part) for part in columns], dtype=np.int32)
    return to_csr((np.concatenate(values), np.concatenate(columns), starts), (len(near), width))


def _search_all(
    vectors: FloatArray,
    numbers: IntArray,
    catalogue: FloatArray,
    count: int,
    allowed: BoolArray | None,
) -> Sparse:
    blocks, width = [], len(catalogue)
    for begin in range(0, len(vectors), _ROWS_PER_BLOCK):
        block = vectors[begin : begin + _ROWS_PER_BLOCK]  # (block, D)
        cosines = dot_rows(block, catalogue)  # (block, N)
        columns = numbers[begin : begin + _ROWS_PER_BLOCK]
        in_catalogue = (columns >= 0) & (columns < width)
        cosines[np.flatnonzero(in_catalogue), columns[in_catalogue]] = 0.0
        if allowed is not None:
            cosines = np.where(allowed, cosines, np.float32(0.0))
        blocks.append(keep_top_per_row(cosines, count))
    return stack_rows(blocks, width)


def _search_lists(
    vectors: FloatArray,
    numbers: IntArray,
    catalogue: FloatArray,
    count: int,
    allowed: BoolArray | None,
) -> Sparse:
    """Cosines (M, N) of the nearest items that the probed lists have, for each row."""
    filled = [catalogue[rows].any(axis=1) for rows in _blocks_of(len(catalogue))]
    present = np.flatnonzero(np.concatenate(filled))
    present = present if allowed is None else present[allowed[present]]
    if not len(present):
        return to_csr((len(vectors), len(catalogue)))
    lists = _InvertedLists(catalogue, present.astype(np.int32))
    blocks = (
        lists.search(vectors[rows], numbers[rows], count) for rows in _blocks_of(len(vectors))
    )
    return stack_rows(blocks, len(catalogue))


def _blocks_of(num_rows: int) -> Iterator[slice]:
    for begin in range(0, num_rows, _ROWS_PER_SEARCH):
        yield slice(begin, begin + _ROWS_PER_SEARCH)


class _InvertedLists:
    """Items with content, grouped by their nearest centroid.

    Args:
        catalogue: (N, D) float32 unit vectors.
        present: (P,) items that are in the lists, one or more; ascending.
    """

    def __init__(self, catalogue: FloatArray, present: IntArray) -> None:
        self._catalogue = catalogue
        num_lists = max(1, round(_LISTS_PER_ROOT * math.sqrt(len(present))))
        sample = np.random.default_rng(0).permutation(present)[: num_lists * _SAMPLES_PER_LIST]
        sampled = catalogue[np.sort(sample)]
        self._directions = main_directions(sampled, _NUM_DIRECTIONS)  # (D, R)
        self._centroids = _fit_centroids(sampled @ self._directions, num_lists)  # (L, R)
        parts = np.array_split(present, math.ceil(len(present) / _ROWS_PER_SEARCH))
        homes = np.concatenate([self._nearest_lists(catalogue[part], 1)[:, 0] for part in parts])
        self._items = present[np.argsort(homes, kind="stable")]  # by list
        self._starts = _count_starts(homes, num_lists)  # (L + 1,) in _items

    def search(self, vectors: FloatArray, numbers: IntArray, count: int) -> Sparse:
        """Cosines (M, N) of the ``count`` nearest items of each row (M, D), itself left out."""
        num_lists, size = len(self._centroids), count + 1  # one more: the row itself may be found
        probed = self._nearest_lists(vectors, min(_NUM_PROBES, num_lists))  # (M, P)
        num_rows, num_probes = probed.shape
        cosines = np.zeros((num_rows * num_probes, size), np.float32)  # (M P, K)
        items = np.zeros((num_rows * num_probes, size), np.int32)
        by_list = np.argsort(probed.ravel(), kind="stable")
        starts = _count_starts(probed.ravel(), num_lists)
        for number in range(num_lists):
            probes = by_list[starts[number] : starts[number + 1]]  # indices in (M P,)
            members = self._items[self._starts[number] : self._starts[number + 1]]
            kept = min(size, len(members))
            if not len(probes) or not kept:
                continue
            products = vectors[probes // num_probes] @ self._catalogue[members].T
            best = np.argpartition(products, len(members) - kept, axis=1)[:, -kept:]
            cosines[probes, :kept] = np.take_along_axis(products, best, axis=1)
            items[probes, :kept] = members[best]
        cosines[items == np.repeat(numbers, num_probes)[:, None]] = 0.0
        bounds = np.arange(num_rows + 1, dtype=np.int32) * (num_probes * size)
        shape = (num_rows, len(self._catalogue))
        return keep_top_entries(to_csr((cosines.ravel(), items.ravel(), bounds), shape), count)

    def _nearest_lists(self, vectors: FloatArray, count: int) -> IntArray:
        faiss = _faiss()
        queries = np.ascontiguousarray(vectors @ self._directions, np.float32)
        nearest = faiss.knn(queries, self._centroids, count, metric=faiss.METRIC_INNER_PRODUCT)[1]
        return np.asarray(nearest, np.int32)


def _fit_centroids(sample: FloatArray, count: int) -> FloatArray:
    """Spherical k-means: unit centroids (count, R) of vectors (S, R); deterministic."""
    kmeans = _faiss().Kmeans(
        sample.shape[1],
        count,
        niter=_NUM_ITERATIONS,
        spherical=True,
        seed=1,
        min_points_per_centroid=1,
    )
    kmeans.train(np.ascontiguousarray(sample, np.float32))
    return np.asarray(kmeans.centroids, np.float32).reshape(count, -1)


def _count_starts(groups: IntArray, count: int) -> IntArray:
    """Starts (count + 1,) of groups 0, 1, ... in an array that is sorted by group."""
    sizes = np.bincount(groups, minlength=count)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def _faiss() -> Any:
    import faiss

    faiss.omp_set_num_threads(num_threads())
    return faiss


def _normalise_rows(cosines: Sparse) -> Sparse:
    """Weights cosine^4, divided by their sum per row; empty rows stay empty."""
    weights = cosines.data**_POWER
    filled = np.flatnonzero(np.diff(cosines.indptr))
    factors = np.zeros(cosines.shape[0], np.float32)  # (M,)
    factors[filled] = 1.0 / np.add.reduceat(weights, cosines.indptr[filled]) if len(filled) else 0.0
    return scale_rows(to_csr((weights, cosines.indices, cosines.indptr), cosines.shape), factors)
