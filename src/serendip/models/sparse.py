"""Sparse matrices that models keep: CSR with float32 values, one safetensors file each, no pickle.

scipy is imported on first use. Its stubs lose the shape of a matrix at every product, so the
matrices are typed ``Sparse`` here and their shapes are written in words.
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
