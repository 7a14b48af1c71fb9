"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from serendip.errors import ConfigError


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
