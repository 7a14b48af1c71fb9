"""Templates and static files of the page.

Templates escape every text. Static files are held in memory under a hash of their content, so no
path of a request ever reaches the file system.

What templates show of an item: its link, its picture or cover, its attributes in words.

Level 0 of the semantic ID gives the colours, levels 1 and 2 place and number the arches. A cover is
an SVG without text, style attributes and ids, so that many of them can be inlined in one page under
its content security policy; the title is laid over it as text.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from fastapi import Response
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from serendip.data.items.catalogue import Attribute, Item
from serendip.engine.item_pictures import ItemPictures

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


_MAX_META_CHARS = 60  # of words beside a title; longer texts are for the page of the item


def item_link(item_id: str, user_id: str) -> str:
    """Link to an item's page for a visitor."""
    return f"/items/{quote(item_id, safe='')}?{urlencode({'user': user_id})}"


def picture_link(pictures: ItemPictures, item: Item) -> str:
    """Address of an item's own picture, which may fail to load; empty if it has none."""
    if pictures.names_file(item):
        return f"/media/items/{quote(item.item_id, safe='')}"
    return pictures.remote_address(item)


def choose_title_size(title: str) -> str:
    """Choose the CSS class of the font size at which no word of a title on a cover breaks."""
    longest = max(map(len, title.split()), default=0)
    if longest > 14:
        return "is-longest"
    if len(title) > 26 or longest > 11:
        return "is-long"
    return "is-short" if len(title) <= 10 and longest <= 8 else "is-middling"


def shown_attributes(engine: Engine, item: Item) -> Mapping[str, Attribute]:
    """Attributes of an item that people see, without the name of its picture, which is shown."""
    hidden = engine.pictures.attribute
    return {
        name: value
        for name, value in item.attributes.items()
        if name != hidden and engine.is_public(name)
    }


def summarise_attributes(engine: Engine, item: Item) -> str:
    """The first number and the first short words of an item in one line, ``1999 · Drama``.

    Ids and codes are left out.
    """
    attributes = shown_attributes(engine, item).items()
    numbers = (
        format_number(value, engine.units.get(name, ""))
        for name, value in attributes
        if isinstance(value, float) and not engine.is_code(name)
    )
    words = (
        item.field_text(name)
        for name, value in attributes
        if _are_words(value) and not engine.is_code(name)
    )
    parts = (*islice(numbers, 1), *islice(words, 1))
    return " · ".join(parts)


def _are_words(value: Attribute) -> bool:
    first = value[0] if isinstance(value, tuple) and value else value
    return isinstance(first, str) and "://" not in first and 0 < len(first) <= _MAX_META_CHARS


def format_number(number: float, unit: str = "") -> str:
    """A number for people, with its unit behind it."""
    text = f"{number:.0f}" if number.is_integer() else f"{number:.2f}"
    return f"{text} {unit}".rstrip()


WIDTH, HEIGHT = 200, 300
_TOP = 120  # above it is the title
# Degrees between the hues of one code and the next: no two of the first hundreds are alike.
_GOLDEN_ANGLE = 137.508
# Saturation and lightness behind the title, in per cent: dark letters are readable on all hues.
GROUND = (28, 90)
_SHADES = ((50, 58), (62, 74), (34, 30))  # those of the arches


def draw_cover(item_id: str, codes: tuple[int, ...]) -> Markup:
    """Draw the cover of an item: nested arches on the lower edge.

    Args:
        item_id: varies the details a little among items with equal codes.
        codes: semantic ID, coarse to fine; empty if the item has none.
    """
    return _draw(codes[:3], zlib.crc32(item_id.encode("utf-8", "replace")) % 4)


@lru_cache(maxsize=4096)
def _draw(codes: tuple[int, ...], variant: int) -> Markup:
    first, second, third = (*codes, 0, 0, 0)[:3]
    hue = first * _GOLDEN_ANGLE % 360
    ground, *colours = (
        f"hsl({hue + 24 * step:.1f},{saturation if codes else 8}%,{lightness}%)"
        for step, (saturation, lightness) in enumerate((GROUND, *_SHADES))
    )
    middle, count = 20 + 32 * (second % 6), 4 + (third + variant) % 4
    arches = "".join(
        f'<circle cx="{middle}" cy="{HEIGHT}" r="{(HEIGHT - _TOP) * (1 - ring / count):.1f}" '
        f'fill="{colours[(1 + second + ring) % 3]}"/>'
        for ring in range(count)
    )
    return Markup(
        f'<svg class="cover-art" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" '
        f'focusable="false" preserveAspectRatio="xMidYMid slice">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{ground}"/>'
        f'<rect y="{_TOP}" width="{WIDTH}" height="{HEIGHT - _TOP}" '
        f'fill="{colours[second % 3]}"/>{arches}</svg>'
    )


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
    choose_title_size,
    format_number,
    item_link,
    picture_link,
    shown_attributes,
    summarise_attributes,
    draw_cover,
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
