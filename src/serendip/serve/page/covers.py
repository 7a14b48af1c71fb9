"""Draws a cover from a semantic ID: items with common codes have similar covers.

Level 0 of the semantic ID gives the colours, levels 1 and 2 place and number the arches. A cover is
an SVG without text, style attributes and ids, so that many of them can be inlined in one page under
its content security policy; the title is laid over it as text.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

from markupsafe import Markup

WIDTH, HEIGHT = 200, 300
_TOP = 120
"""Above it is the title."""

_GOLDEN_ANGLE = 137.508
"""Degrees between the hues of one code and the next: no two of the first hundreds are alike."""

GROUND = (28, 90)
"""Saturation and lightness behind the title, in per cent: dark letters are readable on all hues."""

_SHADES = ((50, 58), (62, 74), (34, 30))
"""Those of the arches."""


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
