"""Vectors of items from who is chosen beside whom: where training of item tables may begin.

``A = d^-0.4 C d^-0.4``: ``C[i, j]`` sums 1/gap over every time i and j stood ``gap`` <= 3 places
apart in somebody's history, in either order; ``d`` its row sums plus 1. Item vectors are the rows
of ``V sqrt(L)`` for the largest eigenvalues ``L`` and eigenvectors ``V`` of A, made unit. Training
that begins there ends higher, in fewer passes (``dev/lab-log.md``). (Factorising co-occurrence is
what word2vec does implicitly: Levy and Goldberg, 2014; here without logarithm or shift, and with
popularity held back less.)

Shapes: N items, D size of a vector.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import pairs_by_gap
from serendip.models.linalg import Sparse, csr, scaled_rows
from serendip.models.sequence.packing import Sequences

NUM_GAPS = 3
"""Items this many places apart still stand beside one another."""

_POPULARITY_POWER = 0.4
_DENSE_BELOW = 2
_SMALLEST = 1e-6


def cooccurrence_vectors(past: Sequences, num_items: int, size: int) -> FloatArray:
    """(N, D) float32 unit vectors; zeros for an item that stood beside no other.

    Args:
        past: histories.
        num_items: N.
        size: D; more than there are directions in the data leave columns of zeros.
    """
    found, counts = np.zeros((num_items, size), np.float32), _counts(past, num_items)
    if not counts.nnz:
        return found
    values, vectors = _largest(_weighted(counts), size)
    found[:, : len(values)] = vectors * np.sqrt(np.maximum(values, 0.0))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.where(lengths > _SMALLEST, found / np.maximum(lengths, _SMALLEST), 0.0)


def _counts(past: Sequences, num_items: int) -> Sparse:
    """(N, N) symmetric sums of 1/gap, nothing beside itself."""
    first = np.cumsum(past.lengths) - past.lengths
    places = np.arange(int(past.lengths.sum())) + np.repeat(past.starts - first, past.lengths)
    owners = np.repeat(np.arange(len(past), dtype=np.int32), past.lengths)
    shape = (num_items, num_items)
    counts = csr(shape)
    for gap, earlier, later in pairs_by_gap(owners, past.items[places], NUM_GAPS):
        values = np.full(len(earlier), 1.0 / gap, np.float32)
        counts += csr((values, (earlier, later)), shape)
    return csr(counts + counts.T)


def _weighted(counts: Sparse) -> Sparse:
    sums = np.asarray(counts.sum(axis=1), np.float32).ravel()
    factors: FloatArray = (sums + 1.0) ** np.float32(-_POPULARITY_POWER)
    scaled = scaled_rows(counts, factors)
    scaled.data *= factors[scaled.indices]
    return scaled


def _largest(matrix: Sparse, count: int) -> tuple[FloatArray, FloatArray]:
    """Up to ``count`` largest eigenvalues, and their vectors as columns; the same in every run."""
    size = matrix.shape[0]
    if size <= _DENSE_BELOW * count:
        values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    else:
        from scipy.sparse.linalg import eigsh

        random = np.random.default_rng(0)
        start = random.standard_normal(size)
        # The generator also decides restarts, which parts without a path between them bring about.
        values, vectors = eigsh(
            matrix.astype(np.float64), k=count, which="LA", v0=start, rng=random
        )
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    return values.astype(np.float32), vectors.astype(np.float32)
