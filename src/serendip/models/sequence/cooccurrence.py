"""Co-occurrence vectors: spectral item embeddings that initialise the training of item tables.

``A = d^-0.4 C d^-0.4``: ``C[i, j]`` sums 1/gap over every time i and j are ``gap`` <= 3 positions
apart in a history, in either order; ``d`` are its row sums plus 1. Item vectors are the rows of
``V sqrt(L)`` for the largest eigenvalues ``L`` and eigenvectors ``V`` of A, normalised to length 1.
Training from there reaches better results in fewer epochs (``dev/lab-log.md``). word2vec
factorises co-occurrence implicitly (Levy and Goldberg, 2014); here without logarithm or shift, and
with less correction for popularity.

Shapes: N items, D size of a vector.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.models.linalg import Sparse, scale_rows
from serendip.models.sequence.packing import Sequences
from serendip.models.sparse.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

NUM_GAPS = 3
"""Largest distance in a history at which two items co-occur."""

_POPULARITY_POWER = 0.4
_DENSE_BELOW = 2
"""Up to this many times the wanted eigenvectors, a dense solver is used."""

_SMALLEST = 1e-6
_TOLERANCE = 1e-3
"""Of eigenvalues, relative: the vectors span the same space, for a sixth less time."""


def cooccurrence_vectors(
    past: Sequences, num_items: int, size: int, options: TrainOptions | None = None
) -> FloatArray:
    """Embed items: (N, D) float32 unit vectors; zeros for an item that co-occurs with no other.

    Beyond the rank of the data, columns are zeros.
    """
    embedded, counts = np.zeros((num_items, size), np.float32), _counts(past, num_items, options)
    if not counts.nnz:
        return embedded
    counts = _normalise(counts)  # the unscaled counts are freed
    values, vectors = _top_eigenvectors(counts, size)  # (D,), (N, D)
    embedded[:, : len(values)] = vectors * np.sqrt(np.maximum(values, 0.0))
    lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
    return np.where(lengths > _SMALLEST, embedded / np.maximum(lengths, _SMALLEST), 0.0)


def _counts(past: Sequences, num_items: int, options: TrainOptions | None) -> Sparse:
    """C (N, N): symmetric sums of 1/gap; zeros on the diagonal."""
    first = np.cumsum(past.lengths) - past.lengths
    events = np.arange(int(past.lengths.sum())) + np.repeat(past.starts - first, past.lengths)
    owners = np.repeat(np.arange(len(past), dtype=np.int32), past.lengths)
    weights = (1.0 / np.arange(1, NUM_GAPS + 1)).astype(np.float32)
    return PairCounter(owners, past.items[events], num_items, weights, weights).count(options)


def _normalise(counts: Sparse) -> Sparse:
    sums = np.asarray(counts.sum(axis=1), np.float32).ravel()  # (N,)
    factors: FloatArray = (sums + 1.0) ** np.float32(-_POPULARITY_POWER)
    scaled = scale_rows(counts, factors)
    scaled.data *= factors[scaled.indices]
    return scaled


def _top_eigenvectors(matrix: Sparse, count: int) -> tuple[FloatArray, FloatArray]:
    """Up to ``count`` largest eigenvalues, and their vectors as columns; deterministic."""
    size = matrix.shape[0]
    if size <= _DENSE_BELOW * count:
        values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    else:
        from scipy.sparse.linalg import eigsh

        random = np.random.default_rng(0)
        start = random.standard_normal(size).astype(np.float32)
        # The generator also seeds restarts, which disconnected components of the graph cause. Half
        # the time and memory of float64; eigenvalues differ by at most 2e-6 (10,000 items).
        values, vectors = eigsh(matrix, count, which="LA", v0=start, tol=_TOLERANCE, rng=random)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    return values.astype(np.float32), vectors.astype(np.float32)
