"""Computes the rows of large sparse matrices, many of them in tasks of an executor.

A matrix is computed in blocks of rows. Where a block begins follows from the data, never from the
number of workers, and a block is computed by the same steps wherever that is: the matrix is the
same bits in one process and in many, in whatever order tasks end. Tasks map what all of them read
from files of a shared folder and write their rows there, so a task needs the memory of one block
and nothing of a matrix is sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.data.artefact import open_value, save_value
from serendip.models.linalg import Sparse, stack_rows
from serendip.runtime.atomic_files import scratch_folder
from serendip.runtime.progress import TrainOptions

BLOCKS_PER_TASK = 16
"""Some seconds of work, several times what starting a local process takes."""

Parts = Mapping[str, Any]
"""What rows are computed from: arrays, numbers and sparse matrices by name."""

RowFunction = Callable[[Parts, slice], Sparse]
"""Parts, and the rows of a block -> these rows (R, N)."""

_SOURCE, _ROWS = "source", "rows"


@dataclass(frozen=True, slots=True)
class RowTask:
    """Blocks of rows of one task: first row of each block, and the row behind it.

    ``compute`` is a function of a module; the folder has what it reads, and each attempt writes its
    rows into a new folder there.
    """

    compute: RowFunction
    folder: str
    size: int
    blocks: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"rows {self.blocks[0][0]:,} to {self.blocks[-1][1]:,} of a matrix"


def compute_rows(
    compute: RowFunction,
    parts: Parts,
    blocks: Sequence[slice],
    description: str,
    options: TrainOptions,
) -> Sparse:
    """All rows (N, N) of a matrix, of consecutive blocks that ``compute`` makes of ``parts``.

    Raises:
        SerendipError: a task was killed.
    """
    size, progress = blocks[-1].stop if blocks else 0, options.progress
    if options.executor.workers == 1 or options.shared is None or len(blocks) <= BLOCKS_PER_TASK:
        found = (
            compute(parts, block) for block in progress.track(blocks, description, len(blocks))
        )
        return stack_rows(found, size)
    with scratch_folder(options.shared) as folder:
        save_value(parts, folder / _SOURCE)
        bounds = [(block.start, block.stop) for block in blocks]
        tasks = [
            RowTask(compute, str(folder), size, tuple(bounds[begin : begin + BLOCKS_PER_TASK]))
            for begin in range(0, len(bounds), BLOCKS_PER_TASK)
        ]
        written = options.executor.map(compute_task, tasks)
        found = (
            open_value(Path(part)) for part in progress.track(written, description, len(tasks))
        )
        return stack_rows(found, size)


def compute_task(task: RowTask) -> str:
    """Compute the rows of a task; returns the folder that has them."""
    parts = open_value(Path(task.folder) / _SOURCE)
    rows = stack_rows((task.compute(parts, slice(*block)) for block in task.blocks), task.size)
    folder = tempfile.mkdtemp(dir=task.folder, prefix=_ROWS)
    save_value(rows, Path(folder))
    return folder
