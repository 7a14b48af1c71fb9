"""Charts of the reports as SVG: bars with intervals, and columns.

Every chart is 360 wide, so that its text keeps its size on a phone; the page puts charts side by
side. Colours are classes of the page's style sheet, for light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from serendip.evaluate.number_format import interval, number, percent

_WIDTH, _ROW = 360, 38
_LEFT, _TOP, _BOTTOM = 38, 10, 130
_MAX_COLUMNS = 160
"""With more codes a column is the mean of consecutive codes, so that columns stay visible."""

_SVG = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
_TEXT = Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>')
_BAR = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" class="{}"/>')
_LINE = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar of a chart.

    Args:
        name: left of it.
        text: its value in words.
        share: of the whole width.
        low: lower end of its interval, as a share of the width; None = it has none.
        high: upper end.
        is_subject: whether it is highlighted.
    """

    name: str
    text: str
    share: float
    low: float | None = None
    high: float | None = None
    is_subject: bool = True


def draw_bars(title: str, bars: Sequence[ChartBar]) -> Markup:
    """Draw a bar with its name, value and interval per row."""
    parts: list[Markup] = []
    for row, bar in enumerate(bars):
        y, style = _ROW * row, "subject" if bar.is_subject else "other"
        parts.append(_TEXT.format(0, y + 13, "strong" if bar.is_subject else "", "start", bar.name))
        parts.append(_TEXT.format(_WIDTH, y + 13, "figure", "end", bar.text))
        parts.append(_BAR.format(0, y + 20, _WIDTH, 8, "track"))
        parts.append(_BAR.format(0, y + 20, _WIDTH * max(bar.share, 0.0), 8, style))
        if bar.low is not None and bar.high is not None:
            middle = y + 24
            ends = _WIDTH * bar.low, _WIDTH * bar.high
            parts.append(_LINE.format(ends[0], middle, ends[1], middle, "whisker"))
            parts += [_LINE.format(x, middle - 4, x, middle + 4, "whisker") for x in ends]
    return _svg(title, _ROW * len(bars) + 2, parts)


def draw_estimates(metric: str, systems: Mapping[str, Any], subject: str) -> Markup:
    """Draw a bar with its interval per system.

    Args:
        metric: of the bars.
        systems: name -> metric -> ``Estimate`` as in ``report.json``.
        subject: system that is highlighted.
    """
    estimates = {name: metrics[metric] for name, metrics in systems.items()}
    ends = [found["high"] for found in estimates.values() if found["value"] is not None]
    top = max(ends, default=0.0) or 1.0
    bars = []
    for name, found in estimates.items():
        if found["value"] is None:
            bars.append(ChartBar(name, "no users", 0.0, is_subject=name == subject))
            continue
        text = f"{number(found['value'])}  ({interval(found)})"
        value, low, high = (found[end] / top for end in ("value", "low", "high"))
        bars.append(ChartBar(name, text, value, low, high, name == subject))
    return draw_bars(metric, bars)


def draw_code_use(codes: Mapping[str, Sequence[Any]]) -> Markup:
    """Draw the perplexity of the codes of each level: how many are in use, if all alike."""
    rows = zip(codes["used"], codes["dead"], codes["perplexity"], strict=False)
    bars = []
    for level, (used, dead, perplexity) in enumerate(rows):
        size = max(used + dead, 1)
        text = f"perplexity {perplexity:.1f} of {size}, {used} used"
        bars.append(ChartBar(f"Level {level}", text, perplexity / size))
    return draw_bars("Use of the codes by level", bars)


def draw_collisions(shared_by: Sequence[int]) -> Markup:
    """Draw the number of items by the number of items with the same full code.

    Args:
        shared_by: items whose full code is unique, or shared by 2, 3, 4, and 5 or more items.
    """
    total = max(sum(shared_by), 1)
    names = ("alone", *(f"{count} items share it" for count in (2, 3, 4)), "5 or more share it")
    return draw_bars(
        "Items that share a full code",
        [
            ChartBar(name, f"{number(count)} items, {percent(count / total)}", count / total)
            for name, count in zip(names, shared_by, strict=True)
        ],
    )


def draw_kept(continuity: Mapping[str, Any]) -> Markup:
    """Draw the share of items that kept their code since another version, per level and for all."""
    shares = {f"Level {level}": share for level, share in enumerate(continuity["kept"])}
    shares["All levels"] = continuity["kept_all_levels"]
    bars = [ChartBar(name, percent(share), share) for name, share in shares.items()]
    return draw_bars(f"Codes kept from {continuity['before']} to {continuity['after']}", bars)


def draw_code_sizes(level: int, sizes: Sequence[int]) -> Markup:
    """Draw the items per code of a level, the largest first, and what each would have if alike.

    Args:
        level: of the codes.
        sizes: (K,) items of each code in descending order, zeros for dead codes.
    """
    size, top = max(len(sizes), 1), max(max(sizes, default=0), 1)
    dead, columns = sum(count == 0 for count in sizes), min(size, _MAX_COLUMNS)
    step, scale = (_WIDTH - _LEFT) / columns, (_BOTTOM - _TOP) / top
    parts = [_TEXT.format(_LEFT - 6, _TOP + 4, "figure", "end", number(top))]
    for column in range(columns):
        part = sizes[column * size // columns : (column + 1) * size // columns]
        height = scale * sum(part) / max(len(part), 1)
        x, width = _LEFT + step * column, step - min(step / 5, 1.0)
        parts.append(_BAR.format(x, _BOTTOM - height, width, height, "subject"))
    even = _BOTTOM - scale * sum(sizes) / size
    for y, style in ((_BOTTOM, "axis"), (even, "whisker")):
        parts.append(_LINE.format(_LEFT, y, _WIDTH, y, style))
    words = f"{number(size)} codes, the largest first; {number(dead) if dead else 'none'} dead"
    parts.append(_TEXT.format(_LEFT, _BOTTOM + 18, "figure", "start", words))
    return _svg(f"Sizes of the codes of level {level}", _BOTTOM + 30, parts)


def _svg(title: str, height: float, parts: Iterable[Markup]) -> Markup:
    return _SVG.format(_WIDTH, height, title, Markup("").join(parts))
