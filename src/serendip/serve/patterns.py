"""The pattern families of the covers: each fills a field with simple shapes in three colours.

Every pattern is a pure function of its ``Detail``: the same detail gives the same markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
