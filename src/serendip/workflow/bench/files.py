"""Files that appear whole or not at all, and what tells them from others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError


def digest_of_files(paths: Iterable[Path]) -> str:
    """Changes whenever a byte of the files does."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON, as ``write_whole`` does.

    Raises:
        ConfigError: the place cannot be written to.
    """
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write aside, flush and rename; folders are made.

    Raises:
        ConfigError: the place cannot be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.", "Name another place.") from None
