"""Covers drawn from semantic IDs: items that share codes look alike.

Level 0 chooses the palette and the composition, level 1 the pattern, level 2 its details. The
drawing is a plain SVG without text, style attributes or ids, so it can stand many times on one
page under a strict content security policy; the title is set over it as text.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from serendip.serve.patterns import PATTERNS, Detail

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
