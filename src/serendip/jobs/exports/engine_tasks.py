"""Engines of exports: one generation answers, at one time, here and in tasks of an executor.

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
from serendip.runtime.executor import Result
from serendip.runtime.progress import TrainOptions

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class EngineLocation:
    """What another process opens the same engine from.

    Args:
        now: Unix seconds, the time of all requests.
    """

    workspace: WorkspaceLocation
    generation: str
    now: float

    def open(self) -> Engine:
        """The engine, in a process of an executor, which may be given several tasks."""
        return _open_once(self)


@lru_cache(maxsize=1)
def _open_once(location: EngineLocation) -> Engine:
    workspace = location.workspace.open()
    generation = open_named(workspace.generations, location.generation)
    return Engine.of_version(workspace, generation, lambda: location.now)


@dataclass(frozen=True, slots=True)
class EngineTask:
    """Rows of a file to compute.

    Args:
        about: what is computed of each, as the function of the tasks takes it.
    """

    location: EngineLocation
    about: Any
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{len(self.ids):,} rows of the file"


@dataclass(frozen=True, slots=True, eq=False)
class EngineExport:
    """A file that an engine fills.

    Args:
        end: called when it is written; None = it has no ids of users.
    """

    engine: Engine
    location: EngineLocation
    out: Path
    end: Callable[[], None] | None

    def active_users(self) -> list[str]:
        """Ids of all users with events, the most active first."""
        return [user for user, _ in self.engine.users(2**31 - 1)]

    def map(
        self,
        work: Callable[[EngineTask], Result],
        about: object,
        ids: Sequence[str],
        size: int,
        name: str,
        options: TrainOptions,
    ) -> Iterable[Result]:
        """Results of tasks, in their order; of a single one in this process, which has the engine.

        ``work`` is a module-level function of one task of ``size`` rows; for ``about`` see
        ``EngineTask``.
        """
        tasks = [
            EngineTask(self.location, about, tuple(ids[begin : begin + size]))
            for begin in range(0, len(ids), size)
        ]
        parts = map(work, tasks) if len(tasks) == 1 else options.executor.map(work, tasks)
        return options.progress.track(parts, name, len(tasks))

    def write(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
        """Write tables as they come, a row group for each, atomically; the number of rows."""
        count = 0
        with open_parquet(self.out, schema) as file:
            for table in tables:
                file.write_table(table)
                count += table.num_rows
        if self.end is not None:
            self.end()
        return count


@contextmanager
def open_export(
    workspace: Workspace, out: Path, now: float | None, has_users: bool
) -> Iterator[EngineExport]:
    """Open the published generation for a file, in a ``with`` block.

    ``now`` is the time of all requests in Unix seconds, None = the present; ``has_users`` tells
    whether the file has ids of users, or what they typed.

    Raises:
        NotTrainedError: no generation is published.
        ArtefactError: a file of the generation is missing or altered.
        StorageError: the database cannot be read.
    """
    with workspace.open_store() as store:
        end = begin_export(workspace, store, out) if has_users else None
        name = open_current(workspace.generations).name
        moment = time.time() if now is None else now
        location = EngineLocation(WorkspaceLocation.of(workspace), name, moment)
        try:
            with location.open() as engine:
                yield EngineExport(engine, location, out, end)
        finally:
            _open_once.cache_clear()
