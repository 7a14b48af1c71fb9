"""Character encodings of text files: files in another one than UTF-8 are read as a UTF-8 copy.

DuckDB reads UTF-8 (and few others); the copy lies among the temporary files and goes with the
process.
"""

from __future__ import annotations

import atexit
import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from serendip.errors import DataError, StorageError
from serendip.runtime.atomic_files import scratch_folder

_ANOTHER = "Name another `encoding` in serendip.toml or --encoding, or save the file as UTF-8."


def check_encoding(name: str) -> str:
    """The name of an encoding if Python decodes text with it; empty = UTF-8.

    Raises:
        ValueError: it is unknown, or none of text.
    """
    try:
        b"a".decode(name or "utf-8")
    except UnicodeDecodeError:  # half a character of UTF-16
        pass
    except (LookupError, ValueError):
        raise ValueError(f"encoding {name!r} is unknown; known are cp1252, cp949, utf-16") from None
    return name


def as_utf8(path: Path, encoding: str) -> Path:
    """A file with the same text in UTF-8; it has the same name, but for ``.gz``.

    Without an encoding it is the file itself; with ``.gz`` it is a compressed one.

    Raises:
        DataError: a line is not in this encoding.
        StorageError: there is no room for the copy.
    """
    if not encoding:
        return path
    stat = path.stat()
    return _copy(path, encoding, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


def open_binary(path: Path) -> Any:
    """Open a file for reading bytes, with ``.gz`` those that are compressed."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


@cache
def _copy(path: Path, encoding: str, state: tuple[int, int, int]) -> Path:
    # Each file is copied once in a process.
    name = path.name[: -len(".gz")] if path.suffix.lower() == ".gz" else path.name
    try:
        folder = _folder() / str(_copy.cache_info().misses)
        folder.mkdir()
        target = folder / name
        with target.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_decode(path, encoding))
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be copied as UTF-8: {error}.", "Make room, or set TMPDIR."
        ) from None
    return target


@cache
def _folder() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(scratch_folder())


def _decode(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        DataError: a line is not in this encoding.
    """
    line = 1
    with io.TextIOWrapper(open_binary(path), encoding, newline="\n") as file:
        try:
            for text in file:
                yield text
                line += 1
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):  # of some lines that are read at once
                before = error.object[: error.start].decode(encoding, "ignore")
                line += before.count("\n")
            reason = (
                f"{path.name}: line {line} is not {encoding}: {getattr(error, 'reason', error)}."
            )
            raise DataError(reason, _ANOTHER) from None
