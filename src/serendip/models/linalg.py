"""Linear algebra of the models: sparse matrices, content neighbours, Procrustes, main directions.

Sparse matrices are CSR with float32 values, stored as a folder of npy files that is mapped.
scipy is imported on first use. Its type stubs lose shapes at every product, so matrices are typed
``Sparse`` and shapes are given in docstrings.

Content neighbours: the nearest items by content as a sparse weight matrix, through which items use
the behaviour of similar ones.

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

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.data.growing_rows import dot_rows
from serendip.data.strings import map_array, open_arrays, save_arrays
from serendip.errors import ArtefactError

Sparse: TypeAlias = Any
"""A two-dimensional ``scipy.sparse.csr_array`` with float32 values."""


def to_csr(matrix: Any, shape: tuple[int, int] | None = None) -> Sparse:
    """Build a float32 CSR matrix from anything that ``scipy.sparse.csr_array`` accepts."""
    from scipy.sparse import csr_array

    result: Sparse = csr_array(matrix, shape=shape, dtype=np.float32)
    return result


def stack_rows(blocks: Sequence[Sparse], columns: int) -> Sparse:
    """Stack blocks of ``columns`` columns vertically; without blocks, (0, columns)."""
    from scipy.sparse import vstack

    return to_csr(vstack([to_csr((0, columns)), *blocks], format="csr"))


def scale_rows(matrix: Sparse, factors: FloatArray) -> Sparse:
    """Multiply row r by ``factors[r]``."""
    return to_csr(
        (matrix.data * np.repeat(factors, np.diff(matrix.indptr)), matrix.indices, matrix.indptr),
        matrix.shape,
    )


def resize(matrix: Sparse, rows: int, columns: int) -> Sparse:
    """Enlarge a matrix; new rows and columns are empty."""
    added = np.full(rows - matrix.shape[0], matrix.indptr[-1], dtype=matrix.indptr.dtype)
    starts = np.concatenate([matrix.indptr, added])
    return to_csr((matrix.data, matrix.indices, starts), (rows, columns))


def sum_rows(weights: Sparse, rows: FloatArray) -> FloatArray:
    """``weights @ rows`` (B, D) of weights (B, N) and rows (N, D); reads only the rows it needs."""
    items, columns = np.unique(weights.indices, return_inverse=True)
    shape = (weights.shape[0], len(items))
    needed = to_csr((weights.data, columns.astype(np.int32), weights.indptr), shape)
    sums: FloatArray = np.asarray(needed @ rows[items], np.float32)
    return sums


def select_columns(matrix: Sparse, numbers: IntArray) -> FloatArray:
    """Select columns (C,) of a matrix (M, N) as a dense (M, C) array; reads each entry once."""
    position = np.full(matrix.shape[1], -1, dtype=np.int32)  # (N,) index in the selection, or -1
    position[numbers] = np.arange(len(numbers))
    columns = position[matrix.indices]  # (entries,)
    entries = np.flatnonzero(columns >= 0)
    rows = np.searchsorted(matrix.indptr, entries, side="right") - 1
    dense = np.zeros((matrix.shape[0], len(numbers)), dtype=np.float32)
    dense[rows, columns[entries]] = matrix.data[entries]
    return dense


def save_csr(path: Path, matrix: Sparse) -> None:
    """Write a matrix for ``open_csr`` into a folder, losslessly."""
    arrays: dict[str, NDArray[Any]] = {
        "values": np.ascontiguousarray(matrix.data, dtype=np.float32),
        "columns": np.ascontiguousarray(matrix.indices, dtype=np.int32),
        "starts": np.ascontiguousarray(matrix.indptr, dtype=np.int32),
        "shape": np.asarray(matrix.shape, dtype=np.int64),
    }
    save_arrays(path, arrays)


def open_csr(path: Path) -> Sparse:
    """Map a matrix that ``save_csr`` wrote into memory.

    Raises:
        ArtefactError: the folder is missing or damaged.
    """
    parts = open_arrays(path)
    try:
        rows, columns = (int(size) for size in parts["shape"])
        return to_csr((parts["values"], parts["columns"], parts["starts"]), (rows, columns))
    except (KeyError, ValueError) as error:
        raise ArtefactError(
            f"{path} has no readable matrix: {error}.", "Train the model again."
        ) from None


def open_array(path: Path) -> FloatArray:
    """Map a float32 npy file into memory, read-only.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    array: FloatArray = map_array(path)
    return array


_ROWS_PER_BLOCK = 1024
_TINY = np.finfo(np.float32).tiny
_POWER = 4
"""Exponent of the cosine in a neighbour's weight, so that the few nearest outweigh the others."""


def find_content_neighbours(
    vectors: FloatArray,
    numbers: IntArray,
    catalogue: FloatArray,
    count: int,
    num_items: int | None = None,
    near: IntArray | None = None,
    allowed: BoolArray | None = None,
) -> Sparse:
    """Find the nearest catalogue items of each vector, weighted by cosine^4; rows sum to 1.

    Args:
        vectors: (M, D) float32 unit vectors; a zero vector has no neighbours.
        numbers: (M,) item number of each row, so that no item is its own neighbour; numbers outside
            [0, N) are items that are not in the catalogue.
        catalogue: float32 unit vectors of N items or more.
        count: maximum number of neighbours per row.
        num_items: N, neighbours are among the first N items; None = all.
        near: (M, C) int32 items that each vector is compared with, padded with -1; None = all N.
        allowed: (N,) items that may be neighbours; None = all.

    Returns:
        (M, N) float32; a row without positive cosines is empty.
    """
    width = len(catalogue) if num_items is None else num_items
    if near is not None:
        found = []
        for vector, number, items in zip(vectors, numbers, near, strict=True):
            items = items[(items >= 0) & (items < width) & (items != number)]
            items = items if allowed is None else items[allowed[items]]
            found.append(_nearest_of(vector, items, catalogue, count))
        columns = np.concatenate([NO_ITEMS, *(columns for columns, _ in found)])
        weights = np.concatenate([np.empty(0, np.float32), *(weights for _, weights in found)])
        starts = np.cumsum([0, *(len(columns) for columns, _ in found)]).astype(np.int32)
        return to_csr((weights, columns, starts), (len(vectors), width))
    blocks = []
    for begin in range(0, len(vectors), _ROWS_PER_BLOCK):
        block = vectors[begin : begin + _ROWS_PER_BLOCK]  # (block, D)
        cosines = dot_rows(block, catalogue)[:, :width]  # (block, N)
        columns = numbers[begin : begin + _ROWS_PER_BLOCK]
        in_catalogue = (columns >= 0) & (columns < width)
        cosines[np.flatnonzero(in_catalogue), columns[in_catalogue]] = 0.0
        if allowed is not None:
            cosines = np.where(allowed, cosines, np.float32(0.0))
        blocks.append(_normalise_rows(keep_top_per_row(cosines, count)))
    return stack_rows(blocks, width)


def _nearest_of(
    vector: FloatArray, items: IntArray, catalogue: FloatArray, count: int
) -> tuple[IntArray, FloatArray]:
    """Columns and weights of ``find_content_neighbours`` of one vector (D,) among items (C,)."""
    cosines = catalogue[items] @ vector  # (C,)
    best = np.argpartition(-cosines, count - 1)[:count] if count < len(items) else slice(None)
    items, cosines = items[best], cosines[best]
    order = np.flatnonzero(cosines > 0)
    order = order[np.argsort(items[order])]
    weights = cosines[order] ** _POWER
    return items[order], np.asarray(weights / max(weights.sum(), _TINY), np.float32)


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
    starts = np.arange(rows + 1) * count
    matrix = to_csr((best.ravel(), columns.ravel().astype(np.int32), starts), (rows, width))
    matrix.eliminate_zeros()
    return matrix


def _normalise_rows(cosines: Sparse) -> Sparse:
    """Weights cosine^4, divided by their sum per row; empty rows stay empty."""
    weights = cosines.power(_POWER)
    sums = weights.sum(axis=1)  # (M,)
    return scale_rows(weights, np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0))


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
    """Mean cosine of corresponding rows of two (M, D) arrays, without rows that are zero in either.

    Returns:
        in [-1, 1]; None if no row is left.
    """
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(target, axis=1)  # (M,)
    is_defined = lengths > 0  # (M,)
    if not is_defined.any():
        return None
    return float(((source * target).sum(1)[is_defined] / lengths[is_defined]).mean())


def measure_agreement(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of ``source``, rotated by ``fit_procrustes``, with ``target``, both (M, D).

    Cross-fitted: each half of the items is rotated by a map fitted on the other half. So unrelated
    vectors have an agreement of about 0, even with few items.

    Returns:
        in [-1, 1]; None if no item has a vector in both.
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
