"""``serendip export``: items, users and events in open formats.

One consistent snapshot is written, events in order of arrival. An import makes the same items,
users and events of it again: a ``serendip.toml`` beside the files says how.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.jobs.exports.export_record import ExportRecord
from serendip.jobs.exports.open_formats import FORMATS, write_tables
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress


def export(
    workspace: Workspace, out: Path, format_name: str, progress: Progress
) -> dict[str, str | int]:
    """Write everything that the database and the event log have into a new folder.

    Args:
        workspace: to export.
        out: missing or empty.
        format_name: see ``FORMATS``.
        progress: of the tables.

    Returns:
        ``out``, ``format``, and the numbers of items, users and events.

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
    with closing(workspace.open_store()) as store:
        record = ExportRecord(workspace, store, out)
        tables = store.tables()
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            with progress.step("tables"):
                write_tables(tables, out, format_name)
            flush_tree(out)
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error}.") from None
        record.end()
    counts = {"items": len(tables.items), "users": len(tables.users), "events": len(tables.events)}
    return {"out": os.fspath(out), "format": format_name, **counts}
