"""``serendip export``: items, users and events in open formats, Parquet and JSON lines.

One consistent snapshot is written, events in order of arrival. An import makes the same items,
users and events of it again: a ``serendip.toml`` beside the files says how. An attribute of several
kinds is a list of texts, or a text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.items.attributes import Attribute
from serendip.data.store.store import Store, StoreTables
from serendip.data.store.tables.erasures import DataCopy
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ConfigError, StorageError
from serendip.files.cells import connect, quote
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress

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
