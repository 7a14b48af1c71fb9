"""What all pages have: templates that escape every text, and their own files."""

from __future__ import annotations

from fastapi import Response
from jinja2 import Environment, FileSystemLoader

from serendip.serve.assets import UI_FOLDER, asset_link, assets

HTML = "text/html; charset=utf-8"
_FOR_EVER = "public, max-age=31536000, immutable"


def environment() -> Environment:
    """Templates of ``ui/templates``."""
    made = Environment(
        loader=FileSystemLoader(UI_FOLDER / "templates"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset_link
    return made


def static_file(name: str) -> Response | None:
    """A file of ``ui/static``; None where there is none of that name."""
    asset = assets().get(name)
    if asset is None:
        return None
    return Response(asset.body, media_type=asset.media_type, headers={"cache-control": _FOR_EVER})
