"""The page's own files, held in memory and named by their content.

There are a handful of them, so no path of a request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UI_FOLDER = Path(__file__).parent / "ui"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Args:
        body: its bytes.
        media_type: for the header.
        version: changes whenever the bytes do.
    """

    body: bytes
    media_type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """All files below ``ui/static`` that a page may load, by path."""
    folder = UI_FOLDER / "static"
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }


def asset_link(name: str) -> str:
    """Path of a file with its version, so that it can be cached for ever."""
    return f"/static/{name}?v={assets()[name].version}"


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:12])
