"""The plots of the report on semantic IDs: how evenly codes are used, and who shares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serendip.evaluate.number_format import number, percent
from serendip.evaluate.plots import WIDTH
from serendip.evaluate.svg import Canvas

_ROW = 38.0
_CODES_LEFT, _CODES_TOP, _CODES_BOTTOM = 38.0, 10.0, 130.0
_MOST_COLUMNS = 160
"""More could not be told apart; then a column is the mean of codes that follow one another."""


def code_sizes(level: int, sizes: Sequence[int]) -> str:
    """Items per code of one level, the largest first; dead codes are a red line at the end.

    Args:
        level: whose codes they are.
        sizes: (K,) items of each code in descending order, zeros for dead ones.
    """
    canvas = Canvas(WIDTH, _CODES_BOTTOM + 34, f"Sizes of the codes of level {level}")
    size, top = max(len(sizes), 1), max(max(sizes, default=0), 1)
    even, used = sum(sizes) / size, sum(count > 0 for count in sizes)
    for value, style in ((0, "axis"), (top, "grid")):
        canvas.line((_CODES_LEFT, _height(value / top)), (WIDTH, _height(value / top)), style)
        canvas.text((_CODES_LEFT - 6, _height(value / top) + 4), number(value), "figure", "end")
    columns = min(size, _MOST_COLUMNS)
    step = (WIDTH - _CODES_LEFT) / columns
    for column in range(columns):
        first, last = column * size // columns, (column + 1) * size // columns
        mean = sum(sizes[first:last]) / max(last - first, 1)
        y, gap = _height(mean / top), min(step / 5, 1.0)
        at, extent = (_CODES_LEFT + step * column, y), (step - gap, _CODES_BOTTOM - y)
        canvas.bar(at, extent, "subject", f"code {first + 1} by size: {mean:,.0f} items")
    canvas.line((_CODES_LEFT, _height(even / top)), (WIDTH, _height(even / top)), "curve train")
    end = _CODES_LEFT + (WIDTH - _CODES_LEFT) * used / size
    canvas.bar(
        (end, _CODES_BOTTOM + 2), (WIDTH - end, 4), "dead", f"{number(size - used)} dead codes"
    )
    canvas.text(
        (_CODES_LEFT, _CODES_BOTTOM + 22), f"{number(size)} codes, the largest first", "figure"
    )
    words = f"{number(size - used)} dead" if used < size else "none dead"
    canvas.text((WIDTH, _CODES_BOTTOM + 22), words, "figure", "end")
    return canvas.svg()


def collisions(shared_by: Sequence[int]) -> str:
    """Items by how many items have the same full code.

    Args:
        shared_by: items whose code is their own, or that of 2, 3, 4, and of 5 or more items.
    """
    total = max(sum(shared_by), 1)
    names = ("alone", *(f"{count} items share it" for count in (2, 3, 4)), "5 or more share it")
    rows = [
        (name, f"{number(count)} items, {percent(count / total)}", count / total)
        for name, count in zip(names, shared_by, strict=True)
    ]
    return _shares("Items that share a full code", rows)


def kept(found: Mapping[str, Any]) -> str:
    """Share of the items that kept their code since another version, per level and of all.

    Args:
        found: ``before``, ``after``, ``kept`` per level and ``kept_all_levels``.
    """
    shares = {f"Level {level}": share for level, share in enumerate(found["kept"])}
    shares["All levels"] = found["kept_all_levels"]
    rows = [(name, percent(share), share) for name, share in shares.items()]
    return _shares(f"Codes kept from {found['before']} to {found['after']}", rows)


def _shares(label: str, rows: Sequence[tuple[str, str, float]]) -> str:
    """One bar per share of a whole: its name, its value in words, the share."""
    canvas = Canvas(WIDTH, _ROW * len(rows) - 6, label)
    for place, (name, words, share) in enumerate(rows):
        y = _ROW * place
        canvas.text((0, y + 13), name, "strong")
        canvas.text((WIDTH, y + 13), words, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        canvas.bar((0, y + 20), (WIDTH * share, 8), "subject", f"{name}: {words}")
    return canvas.svg()


def _height(share: float) -> float:
    return _CODES_BOTTOM - (_CODES_BOTTOM - _CODES_TOP) * share
