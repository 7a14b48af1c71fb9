"""Covers drawn from semantic IDs: items that share codes look alike.

Level 0 chooses the palette and the composition, level 1 the pattern, level 2 its details. The
drawing is a plain SVG without text, style attributes or ids, so it can stand many times on one
page under a strict content security policy; the title is set over it as text.

The pattern families of the covers: each fills a field with simple shapes in three colours.

Every pattern is a pure function of its ``Detail``: the same detail gives the same markup.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Pattern = Callable[["Detail"], str]


@dataclass(frozen=True, slots=True)
class Detail:
    """What one pattern is drawn from.

    Args:
        width: of the field, in units of the cover.
        height: of the field.
        colours: three hex colours.
        seed: any number >= 0; chooses counts, sizes and which colour goes where.
    """

    width: float
    height: float
    colours: tuple[str, str, str]
    seed: int

    def pick(self, count: int, salt: int = 0) -> int:
        """A number in [0, count) that depends on the seed; other salts give other numbers."""
        mixed = (self.seed + 1) * 2_654_435_761 + salt * 40_503
        return (mixed >> 7) % count

    def colour(self, number: int) -> str:
        """One of the three colours, in an order that the seed turns."""
        return self.colours[(number + self.seed) % 3]


_CORNERS = ("M0 0h1v1Z", "M0 0v1h1Z", "M0 0h1l-1 1Z", "M1 0v1h-1Z")
_QUARTERS = (
    "M0 0h1a1 1 0 0 1-1 1Z",
    "M1 0v1a1 1 0 0 1-1-1Z",
    "M1 1h-1a1 1 0 0 1 1-1Z",
    "M0 1v-1a1 1 0 0 1 1 1Z",
)
_LEAVES = (
    "M.08 .08q.9 0 .84 .84q-.9 0-.84-.84Z",
    "M.92 .08q-.9 0-.84 .84q.9 0 .84-.84Z",
)


def _rect(left: float, top: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}"/>'
    )


def _circle(x: float, y: float, radius: float, fill: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"/>'


def _path(data: str, fill: str) -> str:
    return f'<path d="{data}" fill="{fill}"/>'


def _tile(left: float, top: float, size: float, shape: str, fill: str) -> str:
    """A shape of the unit square, moved and scaled to a cell."""
    place = f"translate({left:.1f} {top:.1f}) scale({size:.2f})"
    return f'<path d="{shape}" transform="{place}" fill="{fill}"/>'


def _ground(detail: Detail, number: int) -> str:
    return _rect(0, 0, detail.width, detail.height, detail.colour(number))


def _tiling(detail: Detail, about: float) -> tuple[float, list[tuple[int, int, float, float]]]:
    """Side of square cells that fill the width exactly, and (column, row, x, y) of each."""
    columns = max(1, round(detail.width / about))
    size = detail.width / columns
    rows = math.ceil(detail.height / size)
    above = (detail.height - rows * size) / 2
    cells = [(c, r, c * size, above + r * size) for r in range(rows) for c in range(columns)]
    return size, cells


def arches(detail: Detail) -> str:
    """Nested arches that stand on the lower edge."""
    count = 4 + detail.pick(3)
    middle, base = detail.width * (0.5 + 0.16 * (detail.pick(3, 1) - 1)), detail.height
    largest = detail.height * 0.92
    parts = [_ground(detail, 0)]
    for ring in range(count):
        radius = largest * (1 - ring / count)
        parts.append(_circle(middle, base, radius, detail.colour(1 + ring % 3)))
    return "".join(parts)


def stripes(detail: Detail) -> str:
    """Slanted bands."""
    band = 14 + 5 * detail.pick(4)
    slope = (0.35, 0.7, 1.0)[detail.pick(3, 1)] * detail.height
    parts = [_ground(detail, 0)]
    position, number = -slope, 0
    while position < detail.width:
        corners = (
            f"M{position:.1f} {detail.height:.1f}L{position + slope:.1f} 0"
            f"h{band}L{position + band:.1f} {detail.height:.1f}Z"
        )
        parts.append(_path(corners, detail.colour(1 + number % 2)))
        position += band * 2.1
        number += 1
    return "".join(parts)


def dots(detail: Detail) -> str:
    """A field of dots that grow towards one corner."""
    size, cells = _tiling(detail, 20 + 4 * detail.pick(3))
    parts = [_ground(detail, 0)]
    flip = detail.pick(2, 1)
    reach = detail.width + detail.height
    for column, row, left, top in cells:
        along = (detail.width - left if flip else left) + top
        radius = size * (0.14 + 0.32 * along / reach)
        colour = detail.colour(1 + (column + row) % 2)
        parts.append(_circle(left + size / 2, top + size / 2, radius, colour))
    return "".join(parts)


def waves(detail: Detail) -> str:
    """Rolling hills, one behind the other."""
    count = 4 + detail.pick(3)
    length = detail.width / (1 + detail.pick(2, 1))
    parts = [_ground(detail, 0)]
    for layer in range(count):
        top = detail.height * (0.18 + 0.8 * layer / count)
        lift = 12 + 3 * detail.pick(4, layer)
        start = -length * (0.25 * detail.pick(4, layer + 7))
        data = f"M{start:.1f} {top:.1f}"
        for _ in range(math.ceil((detail.width - start) / length)):
            data += f"q{length / 4:.1f} {-lift} {length / 2:.1f} 0t{length / 2:.1f} 0"
        data += f"V{detail.height:.1f}H{start:.1f}Z"
        parts.append(_path(data, detail.colour(1 + layer % 3)))
    return "".join(parts)


def triangles(detail: Detail) -> str:
    """Squares cut along their diagonals."""
    size, cells = _tiling(detail, 28 + 6 * detail.pick(3))
    parts = [_ground(detail, 0)]
    for column, row, left, top in cells:
        corner = _CORNERS[(column * 3 + row * 5 + detail.pick(4, 1)) % 4]
        colour = detail.colour(1 + (column + row * 2) % 2)
        parts.append(_tile(left, top, size, corner, colour))
    return "".join(parts)


def quarters(detail: Detail) -> str:
    """Tiles of quarter circles."""
    size, cells = _tiling(detail, 32 + 8 * detail.pick(3))
    parts = [_ground(detail, 0)]
    for column, row, left, top in cells:
        quarter = _QUARTERS[(column + 2 * row + detail.pick(4, 2)) % 4]
        colour = detail.colour(1 + (column * row + column) % 2)
        parts.append(_tile(left, top, size, quarter, colour))
    return "".join(parts)


def rays(detail: Detail) -> str:
    """Beams from a sun near the lower edge."""
    count = 9 + 2 * detail.pick(4)
    x, y = detail.width * (0.3 + 0.2 * detail.pick(3, 1)), detail.height * 0.86
    reach = detail.width + detail.height
    parts = [_ground(detail, 0)]
    for ray in range(0, count * 2, 2):
        angles = [math.pi * (ray + side) / count for side in (0, 1)]
        ends = [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in angles]
        data = f"M{x:.1f} {y:.1f}" + "".join(f"L{ex:.0f} {ey:.0f}" for ex, ey in ends) + "Z"
        parts.append(_path(data, detail.colour(1)))
    radius = detail.height * (0.2 + 0.05 * detail.pick(3, 2))
    return "".join(parts) + _circle(x, y, radius, detail.colour(2))


def columns(detail: Detail) -> str:
    """A skyline of bars."""
    count = 6 + detail.pick(5)
    width = detail.width / count
    parts = [_ground(detail, 0)]
    for bar in range(count):
        height = detail.height * (0.25 + 0.09 * detail.pick(8, bar + 3))
        top = detail.height - height
        parts.append(_rect(bar * width, top, width + 0.5, height, detail.colour(1 + bar % 2)))
    return "".join(parts)


def orbits(detail: Detail) -> str:
    """Thin rings around a disc."""
    x = detail.width * (0.35 + 0.15 * detail.pick(3))
    y = detail.height * (0.4 + 0.1 * detail.pick(3, 1))
    step = 13 + 2 * detail.pick(4, 2)
    parts = [_ground(detail, 0)]
    for ring in range(7, 1, -1):
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{ring * step}" fill="none" '
            f'stroke="{detail.colour(1)}" stroke-width="{3 + detail.pick(3, 3)}"/>'
        )
    moon = math.pi * (0.2 + 0.3 * detail.pick(6, 4))
    far = step * 4
    parts.append(_circle(x, y, step * 1.3, detail.colour(2)))
    parts.append(_circle(x + far * math.cos(moon), y + far * math.sin(moon), 8, detail.colour(2)))
    return "".join(parts)


def leaves(detail: Detail) -> str:
    """Rows of leaves."""
    size, cells = _tiling(detail, 30 + 6 * detail.pick(3))
    parts = [_ground(detail, 0)]
    for column, row, left, top in cells:
        leaf = _LEAVES[(row + detail.pick(2, 1)) % 2]
        parts.append(_tile(left, top, size, leaf, detail.colour(1 + (column + row) % 2)))
    return "".join(parts)


def peaks(detail: Detail) -> str:
    """Mountains under a moon."""
    parts = [_ground(detail, 0)]
    moon = detail.width * (0.2 + 0.15 * detail.pick(5))
    parts.append(_circle(moon, detail.height * 0.24, 15 + 4 * detail.pick(3, 1), detail.colour(2)))
    for layer in range(3):
        base = detail.height * (0.42 + 0.2 * layer)
        width = detail.width / (2 + detail.pick(2, layer))
        height = detail.height * (0.3 - 0.05 * layer)
        left = -width * 0.25 * detail.pick(4, layer + 5)
        data = f"M{left:.1f} {base + height * 0.6:.1f}"
        while left < detail.width:
            data += f"l{width / 2:.1f} {-height:.1f}l{width / 2:.1f} {height:.1f}"
            left += width
        data += f"V{detail.height:.1f}H{-detail.width:.1f}Z"
        parts.append(_path(data, detail.colour(1 + layer % 2 if layer < 2 else 3)))
    return "".join(parts)


def weave(detail: Detail) -> str:
    """Bars that pass over and under each other."""
    size, cells = _tiling(detail, 26 + 6 * detail.pick(3))
    thick = size * (0.34 + 0.08 * detail.pick(3, 1))
    gap = (size - thick) / 2
    parts = [_ground(detail, 0)]
    for column, row, left, top in cells:
        across = _rect(left, top + gap, size, thick, detail.colour(1))
        down = _rect(left + gap, top, thick, size, detail.colour(2))
        parts.append(across + down if (column + row) % 2 else down + across)
    return "".join(parts)


PATTERNS: tuple[Pattern, ...] = (
    arches,
    waves,
    quarters,
    orbits,
    columns,
    rays,
    leaves,
    peaks,
    dots,
    triangles,
    stripes,
    weave,
)


WIDTH, HEIGHT = 200, 300


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one cover, as hex: the ground under the title and three for the pattern."""

    paper: str
    first: str
    second: str
    third: str

    @property
    def is_dark(self) -> bool:
        """True where the title must be light to be read."""
        return relative_luminance(self.paper) < 0.18


def relative_luminance(colour: str) -> float:
    """Luminance of a hex colour in [0, 1], as WCAG 2.2 defines it for contrast."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PALETTES: tuple[Palette, ...] = (
    Palette("#f3ead9", "#d9694a", "#e9b55b", "#2f5d62"),
    Palette("#20364a", "#e8a04c", "#5f8fa3", "#c9d7d3"),
    Palette("#e6ede6", "#4f8a73", "#e4b363", "#1f4f46"),
    Palette("#4a2436", "#d9777a", "#f0bf8f", "#7f4159"),
    Palette("#eae6f0", "#7d6bb0", "#e3a6a1", "#40396b"),
    Palette("#174a46", "#8fc1a9", "#f0c66b", "#0f3331"),
    Palette("#f6e1d6", "#c0533e", "#f0a882", "#6d2f34"),
    Palette("#2b2b38", "#8d86c9", "#e58f75", "#4a4a63"),
    Palette("#e2ecf2", "#3f7ea6", "#f0b79a", "#1f4c70"),
    Palette("#5a3a1d", "#e0a243", "#b86a35", "#f1d9a7"),
    Palette("#f1eedd", "#8c8f3f", "#d9b23f", "#51562a"),
    Palette("#123047", "#4fb0ae", "#f2d07c", "#0b2233"),
    Palette("#f4e3e6", "#c05c7e", "#f1b24a", "#7a2f57"),
    Palette("#36452f", "#a9bf78", "#e9dca0", "#232e1f"),
    Palette("#ece7e1", "#8a7766", "#cf8a5b", "#4b423c"),
    Palette("#3a2a55", "#a77fd1", "#f2a65a", "#241a39"),
)
_PLAIN = Palette("#e9e7e2", "#b9b3a8", "#d6d1c7", "#8f887c")

Field = tuple[float, float, float, float]
"""x, y, width and height of the field that a pattern fills."""

_FIELDS: tuple[Field, ...] = (
    (0, 132, 200, 168),
    (0, 168, 200, 132),
    (20, 140, 160, 140),
    (144, 0, 56, 300),
    (0, 122, 200, 110),
    (40, 132, 160, 168),
)


def cover(item_id: str, codes: tuple[int, ...]) -> str:
    """The SVG of an item's cover.

    Args:
        item_id: moves the last detail a little where the codes of two items are all equal.
        codes: semantic ID, coarse to fine; empty where there is none.

    Returns:
        markup that needs no escaping: it holds nothing but numbers and our own colours.
    """
    return _drawn(tuple(codes[:3]), zlib.crc32(item_id.encode("utf-8", "replace")) % 4)


def palette_of(codes: tuple[int, ...]) -> Palette:
    """Colours for a semantic ID."""
    return PALETTES[codes[0] % len(PALETTES)] if codes else _PLAIN


def composition_of(codes: tuple[int, ...]) -> int:
    """Which of the fields a semantic ID fills with its pattern."""
    return (codes[0] // len(PALETTES) + codes[0]) % len(_FIELDS) if codes else 0


def is_narrow(codes: tuple[int, ...]) -> bool:
    """True where the pattern stands beside the title and not below it."""
    return _FIELDS[composition_of(codes)][0] > WIDTH / 2


@lru_cache(maxsize=4096)
def _drawn(codes: tuple[int, ...], nudge: int) -> str:
    palette = palette_of(codes)
    left, top, width, height = _FIELDS[composition_of(codes)]
    second = codes[1] if len(codes) > 1 else 0
    third = codes[2] if len(codes) > 2 else 0
    pattern: Callable[[Detail], str] = PATTERNS[second % len(PATTERNS)]
    detail = Detail(
        width,
        height,
        (palette.first, palette.second, palette.third),
        third * 4 + nudge + second // len(PATTERNS) * 7,
    )
    return (
        f'<svg class="cover-art" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" '
        f'focusable="false" preserveAspectRatio="xMidYMid slice">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{palette.paper}"/>'
        f'<svg x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}">'
        f"{pattern(detail)}</svg></svg>"
    )
