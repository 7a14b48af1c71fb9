"""A Parquet file that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError, StorageError


def require_writable(out: Path) -> None:
    """Write an empty file where rows will be collected, and take it away again.

    Raises:
        ConfigError: ``out`` is a folder, or its folder cannot be written to.
    """
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = _part(out)
        part.touch()
        part.unlink()
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror or error}.",
            "Give --out a file in a folder of yours.",
        ) from None


@contextmanager
def parquet_file(out: Path, schema: Any) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetWriter`` whose file takes the place of ``out`` at the end.

    Args:
        out: the file; what was there before stays until everything is written.
        schema: of pyarrow.

    Raises:
        StorageError: it could be written before, and now cannot.
    """
    import pyarrow.parquet as pq

    part = _part(out)
    try:
        with pq.ParquetWriter(part, schema) as writer:
            yield writer
        part.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror or error}.", "Is the disk full?"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _part(out: Path) -> Path:
    return out.with_name(out.name + ".part")
