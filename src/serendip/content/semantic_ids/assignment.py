"""Assigns codes to all items of a catalogue, in tasks of an executor where there are many.

Codebooks are frozen, so an item's codes depend on its vector alone. A task assigns whole blocks of
``Codebooks.assign``: the codes are the same bits whoever computes them. Tasks read their vectors
from a file that all workers see; only codes are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.items.semantic_ids import ASSIGN_BLOCK, Codebooks
from serendip.data.rows.strings import map_array, save_arrays
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder

BLOCKS_PER_TASK = 128
"""Of 1,024 vectors each: about a second of work, as much as starting a local process."""

_VECTORS, _CODEBOOKS = "vectors", "codebooks.safetensors"


@dataclass(frozen=True, slots=True)
class CodeTask:
    """Rows of one task.

    Args:
        folder: has the vectors and the codebooks.
        begin: first row.
        end: row behind the last one.
    """

    folder: str
    begin: int
    end: int

    def __str__(self) -> str:
        return f"the codes of {self.end - self.begin:,} items"


def assign_codes(codebooks: Codebooks, vectors: FloatArray, options: TrainOptions) -> IntArray:
    """Codes (N, L) of vectors (N, D), as by ``Codebooks.assign``.

    Args:
        codebooks: frozen.
        vectors: content of all items.
        options: progress, executor, and the folder that its workers see.

    Raises:
        DataError: D differs from the codebooks', or a vector is not finite.
        SerendipError: a task was killed.
    """
    count = BLOCKS_PER_TASK * ASSIGN_BLOCK
    if options.executor.workers == 1 or options.shared is None or len(vectors) <= count:
        return codebooks.assign(vectors)
    with scratch_folder(options.shared) as folder:
        save_arrays(folder, {_VECTORS: vectors})
        codebooks.save(folder / _CODEBOOKS)
        begins = range(0, len(vectors), count)
        ends = (min(begin + count, len(vectors)) for begin in begins)
        tasks = [CodeTask(str(folder), *bounds) for bounds in zip(begins, ends, strict=True)]
        found = options.executor.map(assign_rows, tasks)
        return np.concatenate([*options.progress.track(found, "Assigning codes", len(tasks))])


def assign_rows(task: CodeTask) -> IntArray:
    """Codes (R, L) of the rows of a task."""
    folder = Path(task.folder)
    vectors = map_array(folder / f"{_VECTORS}.npy")[task.begin : task.end]
    return Codebooks.open(folder / _CODEBOOKS).assign(vectors)
