"""SVG plots of the reports, drawn from their JSON documents.

Every plot is 360 wide, so that its text keeps its size on a phone; the page puts plots side by
side. Whiskers are 95 % intervals; a missing value is labelled as missing. Plots of semantic IDs
show how evenly codes are used and how many items share them.

``Canvas`` draws a few shapes. Colours come from classes of the page's style sheet, so that a
drawing supports light and dark mode. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from serendip.evaluate.number_format import interval, number, percent, seconds

Point = tuple[float, float]


class Canvas:
    """A drawing of a fixed width, in units of about one pixel on a phone.

    Args:
        width: of the drawing.
        height: of the drawing.
        label: what it shows, for people who do not see it.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self._head = (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        )
        self._parts: list[str] = []

    def text(self, at: Point, words: str, style: str = "", anchor: str = "start") -> None:
        """Words whose base line starts, is centred or ends at a point."""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{style}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def bar(self, at: Point, size: Point, style: str, hint: str = "") -> None:
        """A rectangle with slightly round corners."""
        self._parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{max(size[0], 0.0):.1f}" '
            f'height="{size[1]:.1f}" rx="2" class="{style}">{_hint(hint)}</rect>'
        )

    def line(self, begin: Point, end: Point, style: str) -> None:
        """A straight line."""
        self._parts.append(
            f'<line x1="{begin[0]:.1f}" y1="{begin[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'class="{style}"/>'
        )

    def dot(self, at: Point, radius: float, style: str, hint: str = "") -> None:
        """A filled circle."""
        self._parts.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" class="{style}">'
            f"{_hint(hint)}</circle>"
        )

    def path(self, points: Sequence[Point], style: str, hint: str = "") -> None:
        """A line through points."""
        steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path d="M{steps}" class="{style}">{_hint(hint)}</path>')

    def svg(self) -> str:
        """The element, to stand in a page."""
        return self._head + "".join(self._parts) + "</svg>"


def _hint(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


WIDTH = 360.0
_ROW = 38.0
_TONES = 6
_LEFT, _RIGHT, _BOTTOM = 38.0, WIDTH - 12, 210.0

Found = Mapping[str, Any]


def tone(place: int) -> str:
    """The colour class of a system by its place in the report; the subject is first."""
    return f"t{place % _TONES}"


def bars(label: str, rows: Sequence[tuple[str, Found]], subject: str) -> str:
    """One bar with a whisker per system; the subject's bar stands out."""
    canvas = Canvas(WIDTH, _ROW * len(rows) + 2, f"{label} of {len(rows)} systems")
    top = _top(found for _, found in rows)
    for place, (name, found) in enumerate(rows):
        y = _ROW * place
        value, chosen = found["value"], name == subject
        canvas.text((0, y + 13), _short(name, 24), "strong" if chosen else "")
        words = f"{number(value)}  ({interval(found)})" if value is not None else "nobody to judge"
        canvas.text((WIDTH, y + 13), words, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        if value is None:
            continue
        hint = f"{name}: {number(value)} ({interval(found)}), n = {number(found['n'])}"
        canvas.bar((0, y + 20), (WIDTH * value / top, 8), "subject" if chosen else "other", hint)
        _whisker(canvas, WIDTH * found["low"] / top, WIDTH * found["high"] / top, y + 24)
    return canvas.svg()


def slice_dots(label: str, rows: Sequence[tuple[str, str, Mapping[str, Found]]]) -> str:
    """One row per slice, one dot with a whisker per system.

    Args:
        label: the metric.
        rows: (slice, its size in words, system -> estimate); same systems in all rows.
    """
    names = list(rows[0][2]) if rows else []
    step = 9.0
    height = 24.0 + step * len(names)
    legend = 18.0 * math.ceil(len(names) / 2) + 10
    canvas = Canvas(WIDTH, legend + height * len(rows) + 16, f"{label} by slice")
    for place, name in enumerate(names):
        at = (WIDTH / 2 * (place % 2), 12.0 + 18 * (place // 2))
        canvas.dot((at[0] + 4, at[1] - 4), 4, f"fill {tone(place)}")
        canvas.text((at[0] + 14, at[1]), _short(name, 20))
    top = _top(found for _, _, systems in rows for found in systems.values())
    for row, (slice_name, size, systems) in enumerate(rows):
        y = legend + height * row
        canvas.line((0, y), (WIDTH, y), "grid")
        canvas.text((0, y + 15), slice_name, "strong")
        canvas.text((WIDTH, y + 15), size, "figure", "end")
        for place, (name, found) in enumerate(systems.items()):
            if found["value"] is not None:
                middle = y + 24 + step * place
                left, right = (WIDTH * found[end] / top for end in ("low", "high"))
                canvas.line((left, middle), (right, middle), f"span {tone(place)}")
                hint = f"{name}, {slice_name}: {number(found['value'])} ({interval(found)})"
                canvas.dot((WIDTH * found["value"] / top, middle), 3.5, f"fill {tone(place)}", hint)
    base = legend + height * len(rows)
    canvas.line((0, base), (WIDTH, base), "axis")
    canvas.text((0, base + 14), "0", "figure")
    canvas.text((WIDTH, base + 14), number(top), "figure", "end")
    return canvas.svg()


def quality_and_cost(label: str, points: Sequence[tuple[str, float, Found]], subject: str) -> str:
    """Quality against CPU-seconds of training, on a logarithmic axis; up and left is better."""
    left, right, bottom = _LEFT, _RIGHT, _BOTTOM
    canvas = Canvas(WIDTH, bottom + 34, f"{label} against training time")
    shown = [(name, max(cost, 1e-3), found) for name, cost, found in points if found["value"]]
    if not shown:
        canvas.text((0, 20), "No system has both a value and a cost.", "figure")
        return canvas.svg()
    top = _top(found for _, _, found in shown)
    lowest = math.floor(math.log10(min(cost for _, cost, _ in shown)))
    highest = max(math.ceil(math.log10(max(cost for _, cost, _ in shown))), lowest + 1)
    _grid(canvas, ("0", f"{top / 2:.2g}", f"{top:.2g}"))
    for power in range(lowest, highest + 1):
        x = left + (right - left) * (power - lowest) / (highest - lowest)
        canvas.line((x, bottom), (x, bottom + 4), "axis")
        canvas.text((x, bottom + 17), f"{10.0**power:g}", "figure", "middle")
    canvas.text((right, bottom + 32), "CPU-seconds to train", "figure", "end")
    taken: list[float] = []
    for name, cost, found in sorted(shown, key=lambda row: -row[2]["value"]):
        x = left + (right - left) * (math.log10(cost) - lowest) / (highest - lowest)
        y, low, high = (
            bottom - (bottom - 10) * found[end] / top for end in ("value", "low", "high")
        )
        style = "subject" if name == subject else "other"
        canvas.line((x, low), (x, high), "whisker")
        hint = f"{name}: {number(found['value'])} ({interval(found)}), {seconds(cost)}"
        canvas.dot((x, y), 5, style, hint)
        place = _free(y + 4, taken)
        words = _short(name, 20)
        fits = x + 9 + 7 * len(words) < WIDTH
        canvas.text((x + 9 if fits else x - 9, place), words, "", "start" if fits else "end")
    return canvas.svg()


def exposure(curve: Mapping[str, Any]) -> str:
    """How concentrated the shown items are: cumulative shares, most popular items first."""
    left, right, bottom = _LEFT, _RIGHT, _BOTTOM
    shares, systems = curve["catalogue"], curve["systems"]
    lines = [("train events", "curve train", curve["train"])]
    lines += [(name, f"curve {tone(at)}", ys) for at, (name, ys) in enumerate(systems.items())]
    legend = bottom + 46
    canvas = Canvas(WIDTH, legend + 18 * math.ceil(len(lines) / 2), "Exposure of the catalogue")
    _grid(canvas, ("0%", "50%", "100%"))
    first = math.log10(shares[0]) if shares and shares[0] < 1 else -1.0
    for power in range(math.ceil(first), 1):
        x = left + (right - left) * (1 - power / first)
        canvas.line((x, bottom), (x, bottom + 4), "axis")
        canvas.text((x, bottom + 17), f"{100 * 10.0**power:g} %", "figure", "middle")
    canvas.text((right, bottom + 32), "of the catalogue, most popular first", "figure", "end")
    for place, (name, style, heights) in enumerate(lines):
        points = [
            (left + (right - left) * (1 - math.log10(x) / first), bottom - (bottom - 10) * y)
            for x, y in zip(shares, heights, strict=True)
        ]
        canvas.path(points, style, name)
        at = (WIDTH / 2 * (place % 2), legend + 10 + 18 * (place // 2))
        canvas.path([(at[0], at[1] - 4), (at[0] + 14, at[1] - 4)], style)
        canvas.text((at[0] + 20, at[1]), _short(name, 19))
    return canvas.svg()


def code_use(codes: Mapping[str, Any]) -> str:
    """Per level of the semantic IDs: perplexity, then codes in use, on the number of codes.

    Args:
        codes: ``used``, ``dead`` and ``perplexity``, one number per level each.
    """
    rows = list(zip(codes["used"], codes["dead"], codes["perplexity"], strict=False))
    canvas = Canvas(WIDTH, _ROW * len(rows) + 2, "Use of the codes by level")
    for level, (used, dead, perplexity) in enumerate(rows):
        y = _ROW * level
        size = max(used + dead, 1)
        words = f"perplexity {perplexity:.1f} of {size}, {used} used"
        canvas.text((0, y + 13), f"Level {level}", "strong")
        canvas.text((WIDTH, y + 13), words, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        canvas.bar((0, y + 20), (WIDTH * used / size, 8), "other")
        canvas.bar((0, y + 20), (WIDTH * perplexity / size, 8), "subject", words)
    return canvas.svg()


def _top(founds: Any) -> float:
    """The largest upper end: the right or upper edge of a plot; never 0."""
    return max((found["high"] for found in founds if found["value"] is not None), default=0) or 1.0


def _whisker(canvas: Canvas, left: float, right: float, y: float) -> None:
    canvas.line((left, y), (right, y), "whisker")
    for x in (left, right):
        canvas.line((x, y - 4), (x, y + 4), "whisker")


def _grid(canvas: Canvas, words: tuple[str, str, str]) -> None:
    """Three horizontal lines, named from the lowest up."""
    for step, word in enumerate(words):
        y = _BOTTOM - (_BOTTOM - 10) * step / 2
        canvas.line((_LEFT, y), (_RIGHT, y), "grid" if step else "axis")
        canvas.text((_LEFT - 6, y + 4), word, "figure", "end")


def _free(wanted: float, taken: list[float]) -> float:
    """A base line at or below the wanted one, 13 from every other label."""
    place = wanted
    while any(abs(place - other) < 13 for other in taken):
        place += 1
    taken.append(place)
    return place


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


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
