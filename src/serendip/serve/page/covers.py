"""Draws a cover from a semantic ID: items with common codes have similar covers.

Level 0 of the semantic ID selects the palette, levels 1 and 2 place and number the arches. A cover
is an SVG without text, style attributes and ids, so that many of them can be inlined in one page
under its content security policy; the title is laid over it as text.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

WIDTH, HEIGHT = 200, 300
_TOP = 120
"""Above it is the title."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Hex colours of a cover: the background of the title, and three for the arches."""

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


def draw_cover(item_id: str, codes: tuple[int, ...]) -> str:
    """Draw the cover of an item as SVG markup: nested arches on the lower edge.

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
    colours = (palette.first, palette.second, palette.third)
    middle, count = 20 + 32 * (second % 6), 4 + (third + variant) % 4
    largest = (HEIGHT - _TOP) * (1 - 0.05 * (first // len(PALETTES) % 6))
    arches = "".join(
        f'<circle cx="{middle}" cy="{HEIGHT}" r="{largest * (1 - ring / count):.1f}" '
        f'fill="{colours[(1 + second + ring) % 3]}"/>'
        for ring in range(count)
    )
    return (
        f'<svg class="cover-art" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" '
        f'focusable="false" preserveAspectRatio="xMidYMid slice">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{palette.background}"/>'
        f'<rect y="{_TOP}" width="{WIDTH}" height="{HEIGHT - _TOP}" '
        f'fill="{colours[second % 3]}"/>{arches}</svg>'
    )
