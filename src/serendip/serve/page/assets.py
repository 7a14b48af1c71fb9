"""Templates and static files of the page.

Templates escape every text. Static files are held in memory under a hash of their content, so no
path of a request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import Response
from jinja2 import Environment, FileSystemLoader

from serendip.serve.page import cards
from serendip.serve.page.covers import draw_cover

UI_FOLDER = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file.

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
    """Read the files of ``static`` that a page may load, by path."""
    folder = UI_FOLDER / "static"
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }


def asset_link(name: str) -> str:
    """Build the link to a file with its version, so that browsers may cache it for ever."""
    return f"/static/{name}?v={assets()[name].version}"


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:12])


_SHOWN: tuple[Callable[..., object], ...] = (
    cards.choose_title_size,
    cards.format_number,
    cards.item_link,
    cards.picture_link,
    cards.shown_attributes,
    cards.summarise_attributes,
    draw_cover,
)
"""Functions that templates call."""

_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def environment() -> Environment:
    """Open the templates, which a process compiles once."""
    made = Environment(
        loader=FileSystemLoader(UI_FOLDER / "templates"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset_link
    made.globals |= {function.__name__: function for function in _SHOWN}
    return made


def static_file(name: str) -> Response | None:
    """Answer with a static file; None if there is none of that name."""
    asset = assets().get(name)
    if asset is None:
        return None
    return Response(asset.body, media_type=asset.media_type, headers={"cache-control": _FOR_EVER})
