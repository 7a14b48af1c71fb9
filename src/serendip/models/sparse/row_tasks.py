"""Computes the rows of large sparse matrices, many of them in tasks of an executor.

A matrix is computed in blocks of rows. Where a block begins follows from the data, never from the
number of workers, and a block is computed by the same steps wherever that is: the matrix is the
same bits in one process and in many, in whatever order tasks end. Tasks map what all of them read
from files of a shared folder and write their rows there, so a task needs the memory of one block
and nothing of a matrix is sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.models.linalg import Sparse, stack_rows, to_csr
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder

BLOCKS_PER_TASK = 16
"""Some seconds of work, several times what starting a local process takes."""

_SOURCE, _ROWS = "source", "rows-"


class RowSource(Protocol):
    """What the rows of a matrix (N, N) are computed from."""

    @property
    def num_columns(self) -> int:
        """N."""
        ...

    def compute(self, rows: slice) -> Sparse:
        """A block of rows (R, N)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays, by name."""
        ...

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The source with the arrays that ``arrays`` returned."""
        ...


@dataclass(frozen=True, slots=True)
class RowTask:
    """Blocks of rows of one task.

    Args:
        source: class of what the rows are computed from.
        folder: has its arrays; each attempt writes its rows into a new folder there.
        blocks: first row of each block, and the row behind it.
    """

    source: type[RowSource]
    folder: str
    blocks: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"rows {self.blocks[0][0]:,} to {self.blocks[-1][1]:,} of a matrix"


def compute_rows(
    source: RowSource, blocks: Sequence[slice], description: str, options: TrainOptions
) -> Sparse:
    """All rows (N, N) of a matrix.

    Args:
        source: what they are computed from.
        blocks: consecutive rows; together all of them.
        description: shown with the progress.
        options: progress, executor, and the folder that its workers see.

    Raises:
        SerendipError: a task was killed.
    """
    columns, progress = source.num_columns, options.progress
    if options.executor.workers == 1 or options.shared is None or len(blocks) <= BLOCKS_PER_TASK:
        found = map(source.compute, progress.track(blocks, description, len(blocks)))
        return stack_rows(found, columns)
    with scratch_folder(options.shared) as folder:
        save_arrays(folder / _SOURCE, source.arrays())
        bounds = [(block.start, block.stop) for block in blocks]
        tasks = [
            RowTask(type(source), str(folder), tuple(bounds[begin : begin + BLOCKS_PER_TASK]))
            for begin in range(0, len(bounds), BLOCKS_PER_TASK)
        ]
        written = options.executor.map(compute_task, tasks)
        parts = progress.track(written, description, len(tasks))
        return stack_rows((_open_rows(Path(part), columns) for part in parts), columns)


def compute_task(task: RowTask) -> str:
    """Compute the rows of a task; returns the folder that has them."""
    source = task.source.of_arrays(open_arrays(Path(task.folder) / _SOURCE))
    rows = stack_rows(_compute(source, task.blocks), source.num_columns)
    folder = tempfile.mkdtemp(dir=task.folder, prefix=_ROWS)
    save_arrays(Path(folder), to_arrays("rows", rows))
    return folder


def _compute(source: RowSource, blocks: Sequence[tuple[int, int]]) -> Iterator[Sparse]:
    for begin, end in blocks:
        yield source.compute(slice(begin, end))


def _open_rows(folder: Path, columns: int) -> Sparse:
    arrays = open_arrays(folder)
    return of_arrays("rows", arrays, columns)


def to_arrays(name: str, matrix: Sparse) -> dict[str, NDArray[Any]]:
    """Arrays of a sparse matrix, to store."""
    return {
        f"{name}-values": matrix.data,
        f"{name}-columns": matrix.indices,
        f"{name}-starts": matrix.indptr,
    }


def of_arrays(name: str, arrays: Mapping[str, NDArray[Any]], columns: int) -> Sparse:
    """The sparse matrix (M, N) of ``to_arrays``, without a copy."""
    values, entries, starts = (arrays[f"{name}-{part}"] for part in ("values", "columns", "starts"))
    return to_csr((values, entries, np.asarray(starts)), (len(starts) - 1, columns))
