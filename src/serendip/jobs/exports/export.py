"""``serendip export``: items, users and events in open formats, Parquet and JSON lines.

One consistent snapshot is written, events in order of arrival. An import makes the same items,
users and events of it again: a ``serendip.toml`` beside the files says how. An attribute of several
kinds is a list of texts, or a text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.items.attributes import Attribute
from serendip.data.store.store import Store, StoreTables
from serendip.data.store.tables.erasures import DataCopy
from serendip.engine.artefacts.generations import open_current, open_named
from serendip.engine.engine import Engine
from serendip.engine.workspace import SETTINGS_FILE, Workspace, WorkspaceLocation
from serendip.errors import ConfigError, StorageError
from serendip.files.cells import connect, quote
from serendip.runtime.atomic_files import flush_tree, open_parquet
from serendip.runtime.progress import Progress, TrainOptions

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet", "jsonl")
_ITEM_COLUMNS = ("item_id", "title", "description", "available_from")


def write_tables(tables: StoreTables, folder: Path, format_name: str) -> None:
    """Write a file per table that has rows, and a ``serendip.toml`` that reads them again."""
    items, users = tables.items, tables.users
    columns = {name: [getattr(item, name) for item in items] for name in _ITEM_COLUMNS}
    written = {
        "items": _tabulate(columns, [item.attributes for item in items]),
        "events": tables.events,
        "users": _tabulate(
            {"user_id": [user.user_id for user in users]}, [user.attributes for user in users]
        ),
    }
    mapped = {"items": _ITEM_COLUMNS, "events": tables.events.column_names, "users": ["user_id"]}
    lines = []
    for name, table in written.items():
        if len(table) or name == "items":
            file = f"{name}.{format_name}"
            write_table(table, folder / file)
            lines += [f"[{name}]", f'path = "{file}"']
            lines += ['list_separator = ""'] if name == "items" else []
            lines += ["", f"[{name}.columns]", *(f'{c} = "{c}"' for c in mapped[name]), ""]
    (folder / SETTINGS_FILE).write_text("\n".join(lines), encoding="utf-8")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table into a file, in the format of its ending."""
    import duckdb

    form = {".parquet": "parquet, COMPRESSION zstd", ".jsonl": "json"}[path.suffix]
    with closing(connect()) as connection:
        connection.register("written", table)
        try:
            connection.execute(f"COPY written TO {quote(str(path))} (FORMAT {form})")
        except duckdb.Error as error:
            raise OSError(f"{path.name}: {error}") from None


def _tabulate(
    columns: Mapping[str, Sequence[Any]], attributes: Sequence[Mapping[str, Attribute]]
) -> pa.Table:
    import pyarrow as pa

    arrays = {
        name: pa.array(values, "float64" if name == "available_from" else "string")
        for name, values in columns.items()
    }
    for name in dict.fromkeys(name for row in attributes for name in row):
        arrays[name] = _as_one_kind([row.get(name) for row in attributes])
    return pa.table(arrays)


def _as_one_kind(values: Sequence[Attribute | None]) -> pa.Array:
    """Values of one attribute as numbers, as lists of texts if one is a list, else as texts."""
    import pyarrow as pa

    given = [value for value in values if value is not None]
    if all(isinstance(value, float) for value in given):
        return pa.array(values, pa.float64())
    if any(isinstance(value, tuple) for value in given):
        lists = [(str(one),) if isinstance(one, float | str) else one for one in values]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def begin_export(workspace: Workspace, store: Store, out: Path) -> Callable[[], None]:
    """Record an export, before anything of it is read.

    Returns what notes that nothing is left there from before it was begun.
    """
    path, folder = os.path.abspath(out), os.path.abspath(workspace.folder)
    is_inside = os.path.commonpath([path, folder]) == folder
    name = os.path.relpath(path, folder) if is_inside else path
    copy = DataCopy(name, store.log.position().removals, store.max_version())
    store.exports.begin(copy)
    return partial(store.exports.end, copy)


def export(
    workspace: Workspace, out: Path, format_name: str, progress: Progress
) -> dict[str, str | int]:
    """Write everything that the database and the event log have into a new folder, missing or
    empty.

    Returns ``out``, ``format``, and the numbers of items, users and events.

    Raises:
        ConfigError: the format is unknown, or the folder is not empty.
        StorageError: something cannot be read or written.
    """
    if format_name not in FORMATS:
        raise ConfigError(
            f"format {format_name[:40]!r} is unknown.", f"Use one of: {', '.join(FORMATS)}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty.", "Give each export a folder of its own.")
    with workspace.open_store() as store:
        end = begin_export(workspace, store, out)
        tables = store.tables()
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            with progress.step("tables"):
                write_tables(tables, out, format_name)
            flush_tree(out)
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error}.") from None
        end()
    counts = {"items": len(tables.items), "users": len(tables.users), "events": len(tables.events)}
    return {"out": os.fspath(out), "format": format_name, **counts}


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
