"""Sparse matrices that models keep: CSR with float32 values, one safetensors file each, no pickle.

scipy is imported on first use. Its stubs lose the shape of a matrix at every product, so the
matrices are typed ``Sparse`` here and their shapes are written in words.

Nearest items by content, as a sparse matrix that spreads behaviour to things that are alike.

Orthogonal Procrustes: the rotation or reflection that brings one cloud of vectors onto another.

An orthogonal map that is applied to both sides of a dot product leaves it as it is, so whatever was
learned in a space of arbitrary axes may be told in other ones. Plain numpy; doubles inside.

Shapes: M items, D vector size.

Paper: Schoenemann 1966, "A generalized solution of the orthogonal Procrustes problem". Differs:
directions that the items do not fill are turned as little as can be, not anyhow.

The directions in which vectors differ most: fewer numbers to read, nearly the same products.

(Principal directions without centring: the truncated singular value decomposition.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.errors import ArtefactError

Sparse: TypeAlias = Any
"""A two-dimensional ``scipy.sparse.csr_array`` with float32 values."""


def csr(matrix: Any, shape: tuple[int, int] | None = None) -> Sparse:
    """A CSR matrix from anything that scipy takes: parts, places, another sparse matrix."""
    from scipy.sparse import csr_array

    result: Sparse = csr_array(matrix, shape=shape, dtype=np.float32)
    return result


def stacked(blocks: Sequence[Sparse], columns: int) -> Sparse:
    """Blocks of ``columns`` columns on top of each other; none at all give (0, columns)."""
    from scipy.sparse import vstack

    return csr(vstack([csr((0, columns)), *blocks], format="csr"))


def scaled_rows(matrix: Sparse, factors: FloatArray) -> Sparse:
    """Row r times ``factors[r]``."""
    return csr(
        (matrix.data * np.repeat(factors, np.diff(matrix.indptr)), matrix.indices, matrix.indptr),
        matrix.shape,
    )


def resized(matrix: Sparse, rows: int, columns: int) -> Sparse:
    """The same entries in a larger matrix; new rows and columns are empty."""
    added = np.full(rows - matrix.shape[0], matrix.indptr[-1], dtype=matrix.indptr.dtype)
    starts = np.concatenate([matrix.indptr, added])
    return csr((matrix.data, matrix.indices, starts), (rows, columns))


def with_sparse_rows(matrix: Sparse, numbers: IntArray, rows: Sparse) -> Sparse:
    """A copy in which ``rows`` (M, C) stand for the rows with these distinct numbers (M,)."""
    count, columns = matrix.shape
    places = np.arange(count)
    places[numbers] = count + np.arange(len(numbers))
    return stacked([matrix, rows], columns)[places]


def with_rows(array: FloatArray, numbers: IntArray, rows: FloatArray) -> FloatArray:
    """A copy, in memory, in which ``rows`` (M, D) stand for the rows with these numbers (M,)."""
    changed = np.array(array)
    changed[numbers] = rows
    return changed


def columns_of(matrix: Sparse, numbers: IntArray) -> FloatArray:
    """Some columns of a matrix (M, N) as a dense (M, C) array; reads each entry once."""
    places = np.full(matrix.shape[1], -1, dtype=np.int32)
    places[numbers] = np.arange(len(numbers))
    found = places[matrix.indices]
    entries = np.flatnonzero(found >= 0)
    rows = np.searchsorted(matrix.indptr, entries, side="right") - 1
    dense = np.zeros((matrix.shape[0], len(numbers)), dtype=np.float32)
    dense[rows, found[entries]] = matrix.data[entries]
    return dense


def save_csr(path: Path, matrix: Sparse) -> None:
    """Write a matrix; ``open_csr`` gives back the same numbers."""
    from safetensors.numpy import save_file

    parts: dict[str, NDArray[Any]] = {
        "values": np.ascontiguousarray(matrix.data, dtype=np.float32),
        "columns": np.ascontiguousarray(matrix.indices, dtype=np.int32),
        "starts": np.ascontiguousarray(matrix.indptr, dtype=np.int64),
        "shape": np.asarray(matrix.shape, dtype=np.int64),
    }
    save_file(parts, path)


def open_csr(path: Path) -> Sparse:
    """Read what ``save_csr`` wrote.

    Raises:
        ArtefactError: the file is missing or torn.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        parts = load_file(path)
        rows, columns = (int(size) for size in parts["shape"])
        starts = parts["starts"].astype(np.int32)
        return csr((parts["values"], parts["columns"], starts), (rows, columns))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} holds no readable matrix: {error}.") from None


def open_array(path: Path) -> FloatArray:
    """Map a float32 npy file into memory, read-only.

    Raises:
        ArtefactError: the file is missing or torn.
    """
    try:
        array: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} holds no readable array: {error}.") from None
    return array


_ROWS_AT_ONCE = 1024
_POWER = 4
"""Cosine to this power: the nearest few must outweigh the many that are merely related."""


def content_neighbours(
    vectors: FloatArray, numbers: IntArray, catalogue: FloatArray, count: int
) -> Sparse:
    """The nearest catalogue items of each vector, weighted by cosine^4; rows sum to 1.

    Args:
        vectors: (M, D) float32 unit vectors; a zero vector has no neighbours.
        numbers: (M,) the items that the rows stand for; no item is a neighbour of itself. A number
            outside the catalogue stands for an item that is not in it.
        catalogue: (N, D) float32 unit vectors.
        count: neighbours per row, at most.

    Returns:
        (M, N) float32; a row without positive cosine is empty.
    """
    blocks = []
    for begin in range(0, len(vectors), _ROWS_AT_ONCE):
        block = vectors[begin : begin + _ROWS_AT_ONCE]
        cosines = block @ catalogue.T
        own = numbers[begin : begin + _ROWS_AT_ONCE]
        inside = (own >= 0) & (own < len(catalogue))
        cosines[np.flatnonzero(inside), own[inside]] = 0.0
        blocks.append(_normalised_rows(top_of_rows(cosines, count)))
    return stacked(blocks, len(catalogue))


def top_of_rows(values: FloatArray, count: int) -> Sparse:
    """The ``count`` largest positive entries of each row of a dense (M, N) matrix."""
    rows, width = values.shape
    count = min(count, width)
    if count == 0 or rows == 0:
        return csr((rows, width))
    # Of the negated values: a small place is found several times faster than one near the end.
    columns = np.argpartition(-values, count - 1, axis=1)[:, :count]
    columns.sort(axis=1)
    best = np.maximum(np.take_along_axis(values, columns, axis=1), 0.0)
    starts = np.arange(rows + 1) * count
    matrix = csr((best.ravel(), columns.ravel().astype(np.int32), starts), (rows, width))
    matrix.eliminate_zeros()
    return matrix


def _normalised_rows(cosines: Sparse) -> Sparse:
    weights = cosines.power(_POWER)
    sums = weights.sum(axis=1)
    return scaled_rows(weights, np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0))


_FILLED = 1e-6
"""Directions whose singular value is a smaller share of the largest one are not filled: they are
rounding, as is the mean of vectors that left a layer norm."""

Matrix = NDArray[np.float64]


def procrustes(source: FloatArray, target: FloatArray) -> FloatArray:
    """The orthogonal R (D, D) that makes ``source @ R`` nearest to ``target``, both (M, D).

    Nearest by the sum of squares. Where that leaves a choice (fewer items than dimensions, or
    items in a plane), the R nearest to the identity; without items it is the identity.
    """
    shared = source.astype(np.float64).T @ target.astype(np.float64)
    left, values, right = np.linalg.svd(shared)
    rank = int((values > _FILLED * max(values[0], np.finfo(np.float64).tiny)).sum())
    turned = left[:, :rank] @ right[:rank]
    empty, onto = left[:, rank:], right[rank:].T
    return np.asarray(turned + empty @ _orthogonal(empty.T @ onto) @ onto.T, dtype=np.float32)


def mean_cosine(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of the rows of two (M, D); rows that are zero in either say nothing.

    Returns:
        in [-1, 1]; None where no row says anything.
    """
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(target, axis=1)
    known = lengths > 0
    if not known.any():
        return None
    return float(((source * target).sum(1)[known] / lengths[known]).mean())


def agreement(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of ``source``, turned by ``procrustes``, with ``target``, both (M, D).

    Each half of the items is turned by what the other half says, so that items which the turn was
    fitted to do not praise it: unrelated vectors have 0, also where items are few.

    Returns:
        in [-1, 1]; None where no item says anything.
    """
    turned = np.empty_like(source)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        turned[half] = source[half] @ procrustes(source[other], target[other])
    return mean_cosine(turned, target)


def _orthogonal(matrix: Matrix) -> Matrix:
    """The orthogonal matrix nearest to a square one."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def main_directions(vectors: FloatArray, count: int) -> FloatArray:
    """(C, R) orthonormal, R = ``count`` at most, of vectors (n, C).

    ``(vectors @ main) @ (main.T @ v)`` is nearly ``vectors @ v``, and exactly that where R = C.
    """
    ordered = np.linalg.eigh(vectors.T @ vectors)[1]
    main: FloatArray = ordered[:, -count:].astype(np.float32)
    return main
