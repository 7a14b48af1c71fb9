"""SVG plots of the reports, drawn from their JSON documents.

Every plot is 360 wide, so that its text keeps its size on a phone; the page puts plots side by
side. Whiskers are 95 % intervals; missing values are labelled. Plots of semantic IDs show how
evenly codes are used and how many items share them.

``Canvas`` draws a few shapes. Colours are classes of the page's style sheet, so that plots support
light and dark mode. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from serendip.evaluate.number_format import interval, number, percent, seconds

Point = tuple[float, float]


class Canvas:
    """SVG drawing, in units of about one pixel on a phone.

    Args:
        width: width of the drawing.
        height: height of the drawing.
        label: description for screen readers.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self._head = (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        )
        self._parts: list[str] = []

    def text(self, at: Point, words: str, style: str = "", anchor: str = "start") -> None:
        """Draw text whose base line starts, is centred or ends at a point."""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{style}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def bar(self, at: Point, size: Point, style: str, hint: str = "") -> None:
        """Draw a rectangle with slightly round corners."""
        self._parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{max(size[0], 0.0):.1f}" '
            f'height="{size[1]:.1f}" rx="2" class="{style}">{_format_hint(hint)}</rect>'
        )

    def line(self, begin: Point, end: Point, style: str) -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line x1="{begin[0]:.1f}" y1="{begin[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'class="{style}"/>'
        )

    def dot(self, at: Point, radius: float, style: str, hint: str = "") -> None:
        """Draw a filled circle."""
        self._parts.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" class="{style}">'
            f"{_format_hint(hint)}</circle>"
        )

    def path(self, points: Sequence[Point], style: str, hint: str = "") -> None:
        """Draw a line through points."""
        steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path d="M{steps}" class="{style}">{_format_hint(hint)}</path>')

    def svg(self) -> str:
        """Return the SVG element."""
        return self._head + "".join(self._parts) + "</svg>"


def _format_hint(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


WIDTH = 360.0
_ROW = 38.0
_TONES = 6
_LEFT, _RIGHT, _BOTTOM = 38.0, WIDTH - 12, 210.0

Measured = Mapping[str, Any]
"""An ``Estimate`` as in report.json: ``value``, ``low``, ``high``, ``n``."""


def tone(position: int) -> str:
    """Colour class of a system by its position in the report; the subject is first."""
    return f"t{position % _TONES}"


def bars(label: str, rows: Sequence[tuple[str, Measured]], subject: str) -> str:
    """Draw a bar with a whisker per system; the subject's bar is highlighted."""
    canvas = Canvas(WIDTH, _ROW * len(rows) + 2, f"{label} of {len(rows)} systems")
    top = _find_top(estimate for _, estimate in rows)
    for position, (name, estimate) in enumerate(rows):
        y = _ROW * position
        value, is_subject = estimate["value"], name == subject
        canvas.text((0, y + 13), _shorten(name, 24), "strong" if is_subject else "")
        text = f"{number(value)}  ({interval(estimate)})" if value is not None else "no users"
        canvas.text((WIDTH, y + 13), text, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        if value is None:
            continue
        hint = f"{name}: {number(value)} ({interval(estimate)}), n = {number(estimate['n'])}"
        style = "subject" if is_subject else "other"
        canvas.bar((0, y + 20), (WIDTH * value / top, 8), style, hint)
        _draw_whisker(canvas, WIDTH * estimate["low"] / top, WIDTH * estimate["high"] / top, y + 24)
    return canvas.svg()


def slice_dots(label: str, rows: Sequence[tuple[str, str, Mapping[str, Measured]]]) -> str:
    """Draw a row per slice, with a dot and a whisker per system.

    Args:
        label: name of the metric.
        rows: (slice, its size in words, system -> estimate); same systems in all rows.
    """
    names = list(rows[0][2]) if rows else []
    step = 9.0
    height = 24.0 + step * len(names)
    legend = 18.0 * math.ceil(len(names) / 2) + 10
    canvas = Canvas(WIDTH, legend + height * len(rows) + 16, f"{label} by slice")
    for position, name in enumerate(names):
        at = (WIDTH / 2 * (position % 2), 12.0 + 18 * (position // 2))
        canvas.dot((at[0] + 4, at[1] - 4), 4, f"fill {tone(position)}")
        canvas.text((at[0] + 14, at[1]), _shorten(name, 20))
    top = _find_top(estimate for _, _, systems in rows for estimate in systems.values())
    for row, (slice_name, size, systems) in enumerate(rows):
        y = legend + height * row
        canvas.line((0, y), (WIDTH, y), "grid")
        canvas.text((0, y + 15), slice_name, "strong")
        canvas.text((WIDTH, y + 15), size, "figure", "end")
        for position, (name, estimate) in enumerate(systems.items()):
            if estimate["value"] is not None:
                middle = y + 24 + step * position
                left, right = (WIDTH * estimate[end] / top for end in ("low", "high"))
                canvas.line((left, middle), (right, middle), f"span {tone(position)}")
                hint = f"{name}, {slice_name}: {number(estimate['value'])} ({interval(estimate)})"
                canvas.dot(
                    (WIDTH * estimate["value"] / top, middle), 3.5, f"fill {tone(position)}", hint
                )
    base = legend + height * len(rows)
    canvas.line((0, base), (WIDTH, base), "axis")
    canvas.text((0, base + 14), "0", "figure")
    canvas.text((WIDTH, base + 14), number(top), "figure", "end")
    return canvas.svg()


def quality_and_cost(
    label: str, points: Sequence[tuple[str, float, Measured]], subject: str
) -> str:
    """Draw quality against CPU-seconds of training (logarithmic); up and left is better."""
    left, right, bottom = _LEFT, _RIGHT, _BOTTOM
    canvas = Canvas(WIDTH, bottom + 34, f"{label} against training time")
    shown = [
        (name, max(cost, 1e-3), estimate) for name, cost, estimate in points if estimate["value"]
    ]
    if not shown:
        canvas.text((0, 20), "No system has both a value and a cost.", "figure")
        return canvas.svg()
    top = _find_top(estimate for _, _, estimate in shown)
    lowest = math.floor(math.log10(min(cost for _, cost, _ in shown)))
    highest = max(math.ceil(math.log10(max(cost for _, cost, _ in shown))), lowest + 1)
    _draw_grid(canvas, ("0", f"{top / 2:.2g}", f"{top:.2g}"))
    for power in range(lowest, highest + 1):
        x = left + (right - left) * (power - lowest) / (highest - lowest)
        canvas.line((x, bottom), (x, bottom + 4), "axis")
        canvas.text((x, bottom + 17), f"{10.0**power:g}", "figure", "middle")
    canvas.text((right, bottom + 32), "CPU-seconds to train", "figure", "end")
    label_lines: list[float] = []
    for name, cost, estimate in sorted(shown, key=lambda row: -row[2]["value"]):
        x = left + (right - left) * (math.log10(cost) - lowest) / (highest - lowest)
        y, low, high = (
            bottom - (bottom - 10) * estimate[end] / top for end in ("value", "low", "high")
        )
        style = "subject" if name == subject else "other"
        canvas.line((x, low), (x, high), "whisker")
        hint = f"{name}: {number(estimate['value'])} ({interval(estimate)}), {seconds(cost)}"
        canvas.dot((x, y), 5, style, hint)
        label_y = _find_free_line(y + 4, label_lines)
        name_text = _shorten(name, 20)
        fits = x + 9 + 7 * len(name_text) < WIDTH
        canvas.text((x + 9 if fits else x - 9, label_y), name_text, "", "start" if fits else "end")
    return canvas.svg()


def exposure(curve: Mapping[str, Any]) -> str:
    """Draw the concentration of exposure: cumulative shares, most popular items first."""
    left, right, bottom = _LEFT, _RIGHT, _BOTTOM
    shares, systems = curve["catalogue"], curve["systems"]
    lines = [("train events", "curve train", curve["train"])]
    lines += [(name, f"curve {tone(at)}", ys) for at, (name, ys) in enumerate(systems.items())]
    legend = bottom + 46
    canvas = Canvas(WIDTH, legend + 18 * math.ceil(len(lines) / 2), "Exposure of the catalogue")
    _draw_grid(canvas, ("0%", "50%", "100%"))
    first = math.log10(shares[0]) if shares and shares[0] < 1 else -1.0
    for power in range(math.ceil(first), 1):
        x = left + (right - left) * (1 - power / first)
        canvas.line((x, bottom), (x, bottom + 4), "axis")
        canvas.text((x, bottom + 17), f"{100 * 10.0**power:g} %", "figure", "middle")
    canvas.text((right, bottom + 32), "of the catalogue, most popular first", "figure", "end")
    for position, (name, style, heights) in enumerate(lines):
        points = [
            (left + (right - left) * (1 - math.log10(x) / first), bottom - (bottom - 10) * y)
            for x, y in zip(shares, heights, strict=True)
        ]
        canvas.path(points, style, name)
        at = (WIDTH / 2 * (position % 2), legend + 10 + 18 * (position // 2))
        canvas.path([(at[0], at[1] - 4), (at[0] + 14, at[1] - 4)], style)
        canvas.text((at[0] + 20, at[1]), _shorten(name, 19))
    return canvas.svg()


def code_use(codes: Mapping[str, Any]) -> str:
    """Draw perplexity and number of codes in use for each level of the semantic IDs.

    Args:
        codes: ``used``, ``dead`` and ``perplexity``, one number per level each.
    """
    rows = list(zip(codes["used"], codes["dead"], codes["perplexity"], strict=False))
    canvas = Canvas(WIDTH, _ROW * len(rows) + 2, "Use of the codes by level")
    for level, (used, dead, perplexity) in enumerate(rows):
        y = _ROW * level
        size = max(used + dead, 1)
        text = f"perplexity {perplexity:.1f} of {size}, {used} used"
        canvas.text((0, y + 13), f"Level {level}", "strong")
        canvas.text((WIDTH, y + 13), text, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        canvas.bar((0, y + 20), (WIDTH * used / size, 8), "other")
        canvas.bar((0, y + 20), (WIDTH * perplexity / size, 8), "subject", text)
    return canvas.svg()


def _find_top(measured: Any) -> float:
    """Largest upper end of the intervals, the edge of a plot; never 0."""
    return (
        max((estimate["high"] for estimate in measured if estimate["value"] is not None), default=0)
        or 1.0
    )


def _draw_whisker(canvas: Canvas, left: float, right: float, y: float) -> None:
    canvas.line((left, y), (right, y), "whisker")
    for x in (left, right):
        canvas.line((x, y - 4), (x, y + 4), "whisker")


def _draw_grid(canvas: Canvas, labels: tuple[str, str, str]) -> None:
    """Draw three horizontal lines, labelled from the lowest up."""
    for step, text in enumerate(labels):
        y = _BOTTOM - (_BOTTOM - 10) * step / 2
        canvas.line((_LEFT, y), (_RIGHT, y), "grid" if step else "axis")
        canvas.text((_LEFT - 6, y + 4), text, "figure", "end")


def _find_free_line(preferred: float, taken: list[float]) -> float:
    """Find a base line at or below the preferred one, at least 13 from all other labels."""
    y = preferred
    while any(abs(y - other) < 13 for other in taken):
        y += 1
    taken.append(y)
    return y


def _shorten(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


_CODES_LEFT, _CODES_TOP, _CODES_BOTTOM = 38.0, 10.0, 130.0
_MAX_COLUMNS = 160
"""With more codes a column is the mean of consecutive codes, so that columns stay visible."""


def code_sizes(level: int, sizes: Sequence[int]) -> str:
    """Draw the items per code of a level, the largest first; dead codes are a red line at the end.

    Args:
        level: level of the codes.
        sizes: (K,) items of each code in descending order, zeros for dead codes.
    """
    canvas = Canvas(WIDTH, _CODES_BOTTOM + 34, f"Sizes of the codes of level {level}")
    size, top = max(len(sizes), 1), max(max(sizes, default=0), 1)
    even, used = sum(sizes) / size, sum(count > 0 for count in sizes)
    for value, style in ((0, "axis"), (top, "grid")):
        canvas.line((_CODES_LEFT, _to_y(value / top)), (WIDTH, _to_y(value / top)), style)
        canvas.text((_CODES_LEFT - 6, _to_y(value / top) + 4), number(value), "figure", "end")
    columns = min(size, _MAX_COLUMNS)
    step = (WIDTH - _CODES_LEFT) / columns
    for column in range(columns):
        first, last = column * size // columns, (column + 1) * size // columns
        mean = sum(sizes[first:last]) / max(last - first, 1)
        y, gap = _to_y(mean / top), min(step / 5, 1.0)
        at, extent = (_CODES_LEFT + step * column, y), (step - gap, _CODES_BOTTOM - y)
        canvas.bar(at, extent, "subject", f"code {first + 1} by size: {mean:,.0f} items")
    canvas.line((_CODES_LEFT, _to_y(even / top)), (WIDTH, _to_y(even / top)), "curve train")
    end = _CODES_LEFT + (WIDTH - _CODES_LEFT) * used / size
    canvas.bar(
        (end, _CODES_BOTTOM + 2), (WIDTH - end, 4), "dead", f"{number(size - used)} dead codes"
    )
    canvas.text(
        (_CODES_LEFT, _CODES_BOTTOM + 22), f"{number(size)} codes, the largest first", "figure"
    )
    text = f"{number(size - used)} dead" if used < size else "none dead"
    canvas.text((WIDTH, _CODES_BOTTOM + 22), text, "figure", "end")
    return canvas.svg()


def collisions(shared_by: Sequence[int]) -> str:
    """Draw the number of items by the number of items with the same full code.

    Args:
        shared_by: items whose full code is unique, or shared by 2, 3, 4, and 5 or more items.
    """
    total = max(sum(shared_by), 1)
    names = ("alone", *(f"{count} items share it" for count in (2, 3, 4)), "5 or more share it")
    rows = [
        (name, f"{number(count)} items, {percent(count / total)}", count / total)
        for name, count in zip(names, shared_by, strict=True)
    ]
    return _draw_shares("Items that share a full code", rows)


def kept(continuity: Mapping[str, Any]) -> str:
    """Draw the share of items that kept their code since another version, per level and for all.

    Args:
        continuity: ``before``, ``after``, ``kept`` per level and ``kept_all_levels``.
    """
    shares = {f"Level {level}": share for level, share in enumerate(continuity["kept"])}
    shares["All levels"] = continuity["kept_all_levels"]
    rows = [(name, percent(share), share) for name, share in shares.items()]
    return _draw_shares(f"Codes kept from {continuity['before']} to {continuity['after']}", rows)


def _draw_shares(label: str, rows: Sequence[tuple[str, str, float]]) -> str:
    """Draw one bar per share of a whole: (name, value in words, share)."""
    canvas = Canvas(WIDTH, _ROW * len(rows) - 6, label)
    for position, (name, text, share) in enumerate(rows):
        y = _ROW * position
        canvas.text((0, y + 13), name, "strong")
        canvas.text((WIDTH, y + 13), text, "figure", "end")
        canvas.bar((0, y + 20), (WIDTH, 8), "track")
        canvas.bar((0, y + 20), (WIDTH * share, 8), "subject", f"{name}: {text}")
    return canvas.svg()


def _to_y(share: float) -> float:
    return _CODES_BOTTOM - (_CODES_BOTTOM - _CODES_TOP) * share
