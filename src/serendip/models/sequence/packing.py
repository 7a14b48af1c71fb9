"""Inputs of sequence models: histories packed without padding, and item vectors to begin with.

**Packing**, as numpy arrays, without a Python loop per row: the events of a batch are concatenated
into one line, shorter histories first. Histories of equal length form a dense block that needs no
copy, mask or padding, and everything that works on single events sees one matrix with a row per
event.

**Co-occurrence vectors**: spectral item embeddings that initialise the training of item tables.
``A = d^-0.4 C d^-0.4``: ``C[i, j]`` sums 1/gap over every time i and j are ``gap`` <= 3 positions
apart in a history, in either order; ``d`` are its row sums plus 1. Item vectors are the rows of
``V sqrt(L)`` for the largest eigenvalues ``L`` and eigenvectors ``V`` of A, normalised to length 1.
Training from there reaches better results in fewer epochs (``dev/lab-log.md``). word2vec factorises
co-occurrence implicitly (Levy and Goldberg, 2014); here without logarithm or shift, and with less
correction for popularity.

Shapes: S sequences, E their events, B sequences of a batch, T events of a batch, N items, D size of
a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data import EventLog, FloatArray, IntArray, Query
from serendip.models.linalg import Sparse, scale_rows
from serendip.models.sparse.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

LongArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Item sequences, oldest first, as slices of one array.

    Args:
        items: (E,) int64 item numbers.
        starts: (S,) int64 first event of each sequence.
        lengths: (S,) int64; 0 is allowed.
    """

    items: LongArray
    starts: LongArray
    lengths: LongArray

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_users(cls, log: EventLog, num_users: int) -> Sequences:
        """Group events by user: sequence u is the history of user number u."""
        order = np.argsort(log.users, kind="stable")
        lengths = np.bincount(log.users, minlength=num_users).astype(np.int64)
        return cls(log.items[order].astype(np.int64), np.cumsum(lengths) - lengths, lengths)

    @classmethod
    def of_queries(cls, queries: Sequence[Query], num_items: int) -> Sequences:
        """Items of each query, without those outside [0, num_items).

        Source items (the item looked at, the cart) replace the history if there are any.
        """
        parts = [
            query.source_items if len(query.source_items) else query.history.item_nums
            for query in queries
        ]
        items = np.concatenate(parts).astype(np.int64)
        row = np.repeat(np.arange(len(parts)), np.fromiter(map(len, parts), np.int64))
        inside = (items >= 0) & (items < num_items)
        lengths = np.bincount(row[inside], minlength=len(parts)).astype(np.int64)
        return cls(items[inside], np.cumsum(lengths) - lengths, lengths)

    def last(self, count: int) -> Sequences:
        """Truncate to the ``count`` most recent events of each sequence."""
        lengths = np.minimum(self.lengths, count)
        return Sequences(self.items, self.starts + self.lengths - lengths, lengths)

    def without_last(self, shortened: LongArray) -> Sequences:
        """Drop the last event of some sequences, given by number."""
        lengths = self.lengths.copy()
        lengths[shortened] -= 1
        return Sequences(self.items, self.starts, lengths)

    def windows(self, most: int, random: np.random.Generator) -> Sequences:
        """Cut all events that have a successor into sequences of at most ``most`` events.

        The borders in long histories are drawn anew with every call. The successor of an event is
        the next one in ``items``.
        """
        lengths = np.maximum(self.lengths - 1, 0)  # (S,) events with a successor
        offsets = np.where(lengths > most, random.integers(0, most, len(lengths)), 0)
        counts = -(-(lengths + offsets) // most)  # (S,) windows of each sequence
        user = np.repeat(np.arange(len(counts)), counts)  # (windows,)
        number = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = number * most - offsets[user]
        end = np.minimum(begin + most, lengths[user])
        begin = np.maximum(begin, 0)
        return Sequences(self.items, self.starts[user] + begin, end - begin)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Sequences concatenated into one line, shorter ones first.

    Args:
        rows: (B,) numbers of the sequences, in the order of the line.
        events: (T,) int64 index of each event in ``Sequences.items``.
        last: (B,) int64 index in the line of each sequence's last event.
        blocks: (first event, sequences, length) of each run of sequences of equal length.
    """

    rows: LongArray
    events: LongArray
    last: LongArray
    blocks: Sequence[tuple[int, int, int]]


def pack(sequences: Sequences, rows: LongArray) -> Packed:
    """Concatenate sequences ``rows`` (B,), none empty; equally long ones keep their order."""
    lengths = sequences.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    ends = np.cumsum(lengths)
    positions = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)  # (T,)
    events = np.repeat(sequences.starts[rows], lengths) + positions
    distinct, first, count = np.unique(lengths, return_index=True, return_counts=True)
    begins = (ends - lengths)[first]
    blocks = list(zip(begins.tolist(), count.tolist(), distinct.tolist(), strict=True))
    return Packed(rows, events, ends - 1, blocks)


def batches(sequences: Sequences, size: int, random: np.random.Generator) -> Iterator[Packed]:
    """Yield all sequences once, in random order, in batches of about ``size`` events."""
    order = random.permutation(np.flatnonzero(sequences.lengths))
    if not len(order):
        return
    ends = np.cumsum(sequences.lengths[order])
    count = max(1, round(int(ends[-1]) / size))
    number = (ends - 1) * count // ends[-1]
    for rows in np.split(order, np.flatnonzero(np.diff(number)) + 1):
        yield pack(sequences, rows)


def batches_in_order(sequences: Sequences, rows: IntArray, size: int) -> Iterator[Packed]:
    """Yield batches of ``size`` sequences in the order of ``rows`` (S,), without empty ones."""
    filled = rows[sequences.lengths[rows] > 0].astype(np.int64)
    for start in range(0, len(filled), size):
        yield pack(sequences, filled[start : start + size])


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
