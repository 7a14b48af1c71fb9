"""Files of answers: one generation answers, at one time, here and in tasks of an executor.

What is posted while an export runs may count in the rows that are still to be written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.engine.artefacts.generations import open_current, open_named
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.jobs.exports.export import begin_export
from serendip.runtime.atomic_files import open_parquet
from serendip.runtime.progress import TrainOptions

if TYPE_CHECKING:
    import pyarrow as pa


MOST_USERS = 2**31 - 1
"""All users, as ``Engine.users`` counts them."""


@dataclass(frozen=True, slots=True)
class EngineTask:
    """Rows of a file to compute, by an engine that every process opens alike.

    Args:
        now: Unix seconds, the time of all requests.
        about: what is computed of each id, as the function of the tasks takes it.
    """

    workspace: WorkspaceLocation
    generation: str
    now: float
    about: Any = None
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{len(self.ids):,} rows of the file"

    def open(self) -> Engine:
        """The engine, which a process opens once for all its tasks."""
        return _open_once(self.workspace, self.generation, self.now)


@lru_cache(maxsize=1)
def _open_once(location: WorkspaceLocation, name: str, now: float) -> Engine:
    workspace = location.open()
    return Engine.of_version(workspace, open_named(workspace.generations, name), lambda: now)


def map_rows(
    work: Callable[[EngineTask], pa.Table],
    task: EngineTask,
    ids: Sequence[str],
    size: int,
    name: str,
    options: TrainOptions,
) -> Iterable[pa.Table]:
    """Tables of the rows of some ids, in their order; of a single task in this process.

    ``work`` is a module-level function of a task like this one, of ``size`` ids.
    """
    tasks = [
        EngineTask(task.workspace, task.generation, task.now, task.about, tuple(ids[begin:][:size]))
        for begin in range(0, len(ids), size)
    ]
    parts = map(work, tasks) if len(tasks) == 1 else options.executor.map(work, tasks)
    return options.progress.track(parts, name, len(tasks))


@contextmanager
def open_export(
    workspace: Workspace, out: Path, now: float | None, has_users: bool
) -> Iterator[tuple[EngineTask, Callable[[pa.Schema, Iterable[pa.Table]], int]]]:
    """Open the published generation for a file, in a ``with`` block.

    ``now`` is the time of all requests in Unix seconds, None = the present; ``has_users`` tells
    whether the file has ids of users, or what they typed.

    Returns:
        a task without rows, and what writes tables as they come, atomically; it returns the number
        of rows.

    Raises:
        NotTrainedError: no generation is published.
        ArtefactError: a file of the generation is missing or altered.
        StorageError: the database cannot be read.
    """
    with workspace.open_store() as store:
        end = begin_export(workspace, store, out) if has_users else None
        name = open_current(workspace.generations).name
        task = EngineTask(
            WorkspaceLocation.of(workspace), name, time.time() if now is None else now
        )

        def write(schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
            count = 0
            with open_parquet(out, schema) as file:
                for table in tables:
                    file.write_table(table.select(schema.names).cast(schema))
                    count += table.num_rows
            if end is not None:
                end()
            return count

        try:
            with task.open():
                yield task, write
        finally:
            _open_once.cache_clear()
