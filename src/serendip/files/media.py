"""Pictures and sounds that a Parquet file holds as bytes: files in the workspace from an import on.

The value of the attribute is the path of the file, whose name is the hash of its content.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from serendip.errors import StorageError
from serendip.files.cells import MEDIA_FOLDER
from serendip.files.queries import connect, run
from serendip.files.tables import PARQUET_SUFFIXES, open_table

_BATCH = 64


def extract_media(path: Path, columns: Iterable[str], workspace: Path) -> int:
    """Write the pictures and sounds of columns of bytes into files that are missing.

    Args:
        path: the items file.
        columns: those that are kept; columns without bytes are left out.
        workspace: folder that the names of the files are relative to.

    Returns:
        number of files written.

    Raises:
        DataError: the file cannot be read.
        StorageError: a picture or sound cannot be written.
    """
    if not path.name.lower().endswith(PARQUET_SUFFIXES):
        return 0
    table, written = open_table(path), 0
    for column in columns:
        cell = table.cell(column)
        if not cell.media:
            continue
        query = f"SELECT DISTINCT {cell.text}, {cell.media} FROM read_parquet(?)"
        cursor = run(connect(), query, path)
        try:
            while batch := cursor.fetchmany(_BATCH):
                written += sum(_write(workspace / name, body) for name, body in batch if name)
        except OSError as error:
            raise StorageError(f"{workspace / MEDIA_FOLDER} cannot be written: {error}.") from None
    return written


def _write(target: Path, body: bytes) -> bool:
    """Write a file whole or not at all; False if it was there."""
    if target.exists():
        return False
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_bytes(body)
    part.replace(target)
    return True
