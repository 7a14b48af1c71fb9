"""Linear algebra of the models: sparse matrices, Procrustes, main directions.

Sparse matrices are CSR with float32 values; ``packed_sparse`` stores them.
scipy is imported on first use. Its type stubs lose shapes at every product, so matrices are typed
``Sparse`` and shapes are given in docstrings.

Orthogonal Procrustes (Schoenemann 1966, "A generalized solution of the orthogonal Procrustes
problem"): the rotation or reflection that brings one set of vectors closest to another. Applied to
both sides of a dot product it changes no score, so vectors can move to other axes after training.
Difference: in directions that the items do not span, the solution nearest to the identity is taken.
Computed in float64.

Main directions: principal directions without centring (truncated singular value decomposition), so
that dot products need fewer dimensions.

Shapes: M items, N items of the catalogue, D vector size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, IntArray

Sparse: TypeAlias = Any
"""A two-dimensional ``scipy.sparse.csr_array`` with float32 values."""


def to_csr(matrix: Any, shape: tuple[int, int] | None = None) -> Sparse:
    """Build a float32 CSR matrix from anything that ``scipy.sparse.csr_array`` accepts."""
    from scipy.sparse import csr_array

    result: Sparse = csr_array(matrix, shape=shape, dtype=np.float32)
    return result


def stack_rows(blocks: Iterable[Sparse], columns: int) -> Sparse:
    """Stack blocks of ``columns`` columns vertically; without blocks, (0, columns).

    Blocks are copied as they come: of a generator, only one is in memory beside the result.
    """
    lengths = [np.zeros(1, np.int64)]
    values, entries = bytearray(), bytearray()  # the system moves their pages as they grow
    for block in blocks:
        lengths.append(np.diff(block.indptr))
        values.extend(np.ascontiguousarray(block.data, np.float32).data)
        entries.extend(np.ascontiguousarray(block.indices, np.int32).data)
    data = np.frombuffer(values, np.float32), np.frombuffer(entries, np.int32)
    bounds = sum_lengths(lengths)
    return to_csr((*data, bounds), (len(bounds) - 1, columns))


def sum_lengths(lengths: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Offsets of rows by their lengths, after a 0; of 32 bits if they fit.

    One 64-bit array would make scipy convert the others.
    """
    bounds = np.cumsum(np.concatenate(lengths))
    return bounds.astype(np.int32) if bounds[-1] <= np.iinfo(np.int32).max else bounds


def split_rows(sizes: NDArray[Any], limit: int) -> list[slice]:
    """Split rows into consecutive blocks whose sizes (M,) add up to at most ``limit``.

    A row that is larger than the limit is a block of its own.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    blocks, begin = [], 0
    while begin < len(sizes):
        before = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, before + limit, side="right")), begin + 1)
        blocks.append(slice(begin, end))
        begin = end
    return blocks


def scale_rows(matrix: Sparse, factors: FloatArray) -> Sparse:
    """Multiply row r of a matrix (R, C) by ``factors[r]``, of factors (R,)."""
    return to_csr(
        (matrix.data * np.repeat(factors, np.diff(matrix.indptr)), matrix.indices, matrix.indptr),
        matrix.shape,
    )


def sum_rows(weights: Sparse, rows: Any) -> Any:
    """``weights @ rows`` (B, D) of weights (B, N) and an array or ``PackedSparse`` (N, D) of rows;
    reads only the rows it needs, and is sparse where they are.
    """
    items, columns = np.unique(weights.indices, return_inverse=True)
    shape = (weights.shape[0], len(items))
    needed = to_csr((weights.data, columns.astype(np.int32), weights.indptr), shape)
    return needed @ rows[items]


def sum_entries(columns: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """Sum the values (E,) of equal columns (E,): distinct columns, ascending, and their sums."""
    if not len(columns):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    # One sort of 64-bit keys is much faster than an indirect sort of the columns.
    keys = np.sort((columns.astype(np.int64) << 32) | np.arange(len(columns)))
    ordered = (keys >> 32).astype(np.int32)
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sums = np.add.reduceat(values[keys & 0xFFFFFFFF], begins)
    return ordered[begins], np.asarray(sums, np.float32)


def keep_top_per_row(values: FloatArray, count: int) -> Sparse:
    """Keep the ``count`` largest positive entries of each row of a dense (M, N) matrix."""
    rows, width = values.shape
    count = min(count, width)
    if count == 0 or rows == 0:
        return to_csr((rows, width))
    # Negated: numpy partitions around a small index several times faster than near the end.
    columns = np.argpartition(-values, count - 1, axis=1)[:, :count]  # (M, count)
    columns.sort(axis=1)
    best = np.maximum(np.take_along_axis(values, columns, axis=1), 0.0)  # (M, count)
    starts = np.arange(rows + 1, dtype=np.int32) * count
    matrix = to_csr((best.ravel(), columns.ravel().astype(np.int32), starts), (rows, width))
    matrix.eliminate_zeros()
    return matrix


def keep_top_entries(matrix: Sparse, count: int) -> Sparse:
    """Keep the ``count`` largest positive entries of each row of a sparse (M, N) matrix."""
    from sparse_dot_topn import zip_sp_matmul_topn

    if not matrix.nnz:
        return to_csr(matrix.shape)
    count = min(count, int(np.diff(matrix.indptr).max()))
    return _sort(zip_sp_matmul_topn(count, [_to_matrix(matrix)]))


def multiply_top(left: Sparse, right: Sparse, count: int) -> Sparse:
    """The ``count`` largest positive entries of each row of ``left @ right``, (M, N).

    Smaller entries are dropped while multiplying; only one row is ever complete in memory.
    """
    from sparse_dot_topn import sp_matmul_topn

    shape = (left.shape[0], right.shape[1])
    if not (left.nnz and right.nnz):
        return to_csr(shape)
    # The library needs time and memory for ``count`` entries of each row, found or not.
    sizes = np.concatenate([[0], np.cumsum(np.diff(right.indptr)[left.indices])])
    largest = int(np.diff(sizes[left.indptr]).max())
    count = min(count, shape[1], max(largest, 1))
    return _sort(sp_matmul_topn(_to_matrix(left), _to_matrix(right), count, threshold=0.0))


def _to_matrix(array: Sparse) -> Any:
    # The only class that sparse-dot-topn accepts.
    from scipy.sparse import csr_matrix

    return csr_matrix((array.data, array.indices, array.indptr), shape=array.shape)


def _sort(matrix: Any) -> Sparse:
    result = to_csr(matrix)
    result.sort_indices()
    return result


_MIN_SINGULAR_VALUE = 1e-6
"""Relative to the largest one. Directions below it are rounding errors, such as the mean of the
dimensions after a layer norm, and count as not spanned."""

Matrix = NDArray[np.float64]


def fit_procrustes(source: FloatArray, target: FloatArray) -> FloatArray:
    """Fit the orthogonal R (D, D) that minimises ``|source @ R - target|^2``, both (M, D).

    If the solution is not unique (fewer items than dimensions, or items in a subspace), take the R
    nearest to the identity; without items R is the identity.
    """
    covariance = source.astype(np.float64).T @ target.astype(np.float64)  # (D, D)
    left, values, right = np.linalg.svd(covariance)  # (D, D), (D,), (D, D)
    smallest = _MIN_SINGULAR_VALUE * max(values[0], np.finfo(np.float64).tiny)
    rank = int((values > smallest).sum())
    spanned = left[:, :rank] @ right[:rank]  # (D, D), the classical solution U V^T
    # The null spaces may be mapped onto each other by any orthogonal matrix (D - rank, D - rank).
    left_null, right_null = left[:, rank:], right[rank:].T  # (D, D - rank) each
    unspanned = left_null @ _nearest_orthogonal(left_null.T @ right_null) @ right_null.T
    return np.asarray(spanned + unspanned, dtype=np.float32)


def mean_cosine(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of the rows of two arrays (M, D) that are zero in neither; None without any."""
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(target, axis=1)  # (M,)
    is_defined = lengths > 0  # (M,)
    if not is_defined.any():
        return None
    return float(((source * target).sum(1)[is_defined] / lengths[is_defined]).mean())


def measure_agreement(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of ``source``, rotated by ``fit_procrustes``, with ``target``, both (M, D).

    Cross-fitted: each half of the items is rotated by a map fitted on the other half. So unrelated
    vectors have an agreement of about 0, even with few items. It is in [-1, 1]; None if no item has
    a vector in both.
    """
    rotated = np.empty_like(source)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        rotated[half] = source[half] @ fit_procrustes(source[other], target[other])
    return mean_cosine(rotated, target)


def _nearest_orthogonal(matrix: Matrix) -> Matrix:
    """Orthogonal matrix nearest to a square one (its polar factor)."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def main_directions(vectors: FloatArray, count: int) -> FloatArray:
    """Main directions (D, R) of vectors (M, D): orthonormal, R = min(D, ``count``).

    ``(vectors @ main) @ (main.T @ v)`` approximates ``vectors @ v``, exactly if R = D.
    """
    eigenvectors = np.linalg.eigh(vectors.T @ vectors)[1]  # (D, D), ascending eigenvalues
    main: FloatArray = eigenvectors[:, -count:].astype(np.float32)
    return main
