"""Draws a cover from a semantic ID: items with common codes have similar covers.

Level 0 of the semantic ID selects the palette and the layout, level 1 the pattern, level 2 its
details. A cover is an SVG without text, style attributes and ids, so that many of them can be
inlined in one page under its content security policy; the title is laid over it as text.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

WIDTH, HEIGHT = 200, 300


@dataclass(frozen=True, slots=True)
class Palette:
    """Hex colours of a cover: the background of the title, and three for the pattern."""

    background: str
    first: str
    second: str
    third: str

    @property
    def is_dark(self) -> bool:
        """True if the title needs a light colour to be readable."""
        return relative_luminance(self.background) < 0.18


def relative_luminance(colour: str) -> float:
    """Compute the luminance of a hex colour, in [0, 1], as WCAG 2.2 defines it for contrast."""
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
_NO_CODES = Palette("#e9e7e2", "#b9b3a8", "#d6d1c7", "#8f887c")

_LAYOUTS: tuple[tuple[int, int, int, int], ...] = (
    (0, 132, 200, 168),
    (0, 168, 200, 132),
    (20, 140, 160, 140),
    (0, 132, 160, 168),
    (0, 130, 200, 110),
    (40, 132, 160, 168),
)
"""x, y, width and height of the part that the pattern fills; the title is above it."""


@dataclass(frozen=True, slots=True)
class PatternArea:
    """The part of a cover that a pattern fills.

    Args:
        width: in units of the cover.
        height: in units of the cover.
        palette: colours of the cover.
        seed: any number >= 0; selects counts, sizes and the order of the colours.
    """

    width: int
    height: int
    palette: Palette
    seed: int

    def pick(self, count: int, salt: int = 0) -> int:
        """Pick a number in [0, count) by the seed; another salt gives another number."""
        return (((self.seed + 1) * 2_654_435_761 + salt * 40_503) >> 7) % count

    def colour(self, number: int) -> str:
        """One of the three colours; the seed decides which of them comes first."""
        colours = (self.palette.first, self.palette.second, self.palette.third)
        return colours[(number + self.seed) % 3]

    def rect(self, left: float, top: float, width: float, height: float, number: int) -> str:
        """A rectangle in one of the colours."""
        place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        return f'<rect {place} fill="{self.colour(number)}"/>'

    def path(self, data: str, number: int, transform: str = "") -> str:
        """A filled path in one of the colours."""
        moved = f' transform="{transform}"' if transform else ""
        return f'<path d="{data}"{moved} fill="{self.colour(number)}"/>'


def draw_arches(area: PatternArea) -> str:
    """Nested arches on the lower edge."""
    count = 4 + area.pick(3)
    middle, largest = area.width * (0.5 + 0.16 * (area.pick(3, 1) - 1)), area.height * 0.92
    return "".join(
        f'<circle cx="{middle:.1f}" cy="{area.height}" r="{largest * (1 - ring / count):.1f}" '
        f'fill="{area.colour(1 + ring % 3)}"/>'
        for ring in range(count)
    )


def draw_waves(area: PatternArea) -> str:
    """Rolling hills, one behind the other."""
    count, length, parts = 4 + area.pick(3), area.width / (1 + area.pick(2, 1)), []
    for layer in range(count):
        top = area.height * (0.18 + 0.8 * layer / count)
        rise, start = 12 + 3 * area.pick(4, layer), -length * 0.25 * area.pick(4, layer + 7)
        wave = f"q{length / 4:.1f} {-rise} {length / 2:.1f} 0t{length / 2:.1f} 0"
        hills = wave * math.ceil((area.width - start) / length)
        outline = f"M{start:.1f} {top:.1f}{hills}V{area.height}H{start:.1f}Z"
        parts.append(area.path(outline, 1 + layer % 3))
    return "".join(parts)


_QUARTER_CIRCLES = (
    "M0 0h1a1 1 0 0 1-1 1Z",
    "M1 0v1a1 1 0 0 1-1-1Z",
    "M1 1h-1a1 1 0 0 1 1-1Z",
    "M0 1v-1a1 1 0 0 1 1 1Z",
)


def draw_tiles(area: PatternArea) -> str:
    """Square tiles of quarter circles that fill the width, without seams between them."""
    columns = max(1, round(area.width / (32 + 8 * area.pick(3))))
    size = area.width / columns
    rows, parts = math.ceil(area.height / size), []
    top = (area.height - rows * size) / 2
    for row in range(rows):
        for column in range(columns):
            shape = _QUARTER_CIRCLES[(column + 2 * row + area.pick(4, 2)) % 4]
            place = f"translate({column * size:.1f} {top + row * size:.1f}) scale({size + 0.3:.2f})"
            parts.append(area.path(shape, 1 + (column * row + column) % 2, place))
    return "".join(parts)


def draw_columns(area: PatternArea) -> str:
    """A skyline of columns."""
    count = 6 + area.pick(5)
    width, parts = area.width / count, []
    for column in range(count):
        height = area.height * (0.25 + 0.09 * area.pick(8, column + 3))
        left, top = column * width, area.height - height
        parts.append(area.rect(left, top, width + 0.5, height, 1 + column % 2))
    return "".join(parts)


PATTERNS: tuple[Callable[[PatternArea], str], ...] = (
    draw_arches,
    draw_waves,
    draw_tiles,
    draw_columns,
)


def draw_cover(item_id: str, codes: tuple[int, ...]) -> str:
    """Draw the cover of an item as SVG markup.

    Args:
        item_id: varies the details a little among items with equal codes.
        codes: semantic ID, coarse to fine; empty if the item has none.

    Returns:
        markup that needs no escaping: it holds only numbers and the colours above.
    """
    return _draw(codes[:3], zlib.crc32(item_id.encode("utf-8", "replace")) % 4)


def choose_palette(codes: tuple[int, ...]) -> Palette:
    """The palette of a semantic ID."""
    return PALETTES[codes[0] % len(PALETTES)] if codes else _NO_CODES


@lru_cache(maxsize=4096)
def _draw(codes: tuple[int, ...], variant: int) -> str:
    palette = choose_palette(codes)
    first, second, third = (*codes, 0, 0, 0)[:3]
    left, top, width, height = _LAYOUTS[(first // len(PALETTES) + first) % len(_LAYOUTS)]
    area = PatternArea(width, height, palette, third * 4 + variant + second // len(PATTERNS) * 7)
    background = area.rect(0, 0, width, height, 0)
    return (
        f'<svg class="cover-art" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" '
        f'focusable="false" preserveAspectRatio="xMidYMid slice">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{palette.background}"/>'
        f'<svg x="{left}" y="{top}" width="{width}" height="{height}">'
        f"{background}{PATTERNS[second % len(PATTERNS)](area)}</svg></svg>"
    )
