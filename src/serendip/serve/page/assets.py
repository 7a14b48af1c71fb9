"""Templates and static files of the page.

Templates escape every text. Static files are held in memory under a hash of their content, so no
path of a request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath

from fastapi import Response
from jinja2 import Environment, FileSystemLoader

from serendip.serve.page import cards

UI_FOLDER = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def _files() -> dict[str, bytes]:
    folder = UI_FOLDER / "static"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }


@cache
def asset_link(name: str) -> str:
    """Build the link to a file with its version, so that browsers may cache it for ever."""
    return f"/static/{name}?v={hashlib.sha256(_files()[name]).hexdigest()[:12]}"


# Functions that templates call.
_SHOWN: tuple[Callable[..., object], ...] = (
    cards.choose_title_size,
    cards.format_number,
    cards.item_link,
    cards.picture_link,
    cards.shown_attributes,
    cards.summarise_attributes,
    cards.draw_cover,
)

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
    body = _files().get(name)
    if body is None:
        return None
    kind = _TYPES[PurePosixPath(name).suffix]
    return Response(body, media_type=kind, headers={"cache-control": _FOR_EVER})
