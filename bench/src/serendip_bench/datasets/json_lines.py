"""Files with one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serendip.errors import DataError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers.

    Raises:
        DataError: the file does not exist or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist.", "See the docs for the files of --data."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def read_objects(path: Path, *needed: str) -> Iterator[dict[str, Any]]:
    """Objects of a file.

    Args:
        path: of the file.
        needed: keys that each has, with a value.

    Raises:
        DataError: a line is not an object, or lacks a key.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number} is not JSON: {error}.") from None
        for name in needed:
            if not isinstance(row, dict) or row.get(name) in (None, ""):
                raise DataError(f"{path}:{number} has no {name}.", "Each line is an object.")
        yield row
