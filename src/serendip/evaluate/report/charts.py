"""Charts of the reports as SVG: bars with intervals.

Every chart is 360 wide, so that its text keeps its size on a phone; the page puts charts side by
side. Colours are classes of the page's style sheet, for light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from serendip.evaluate.number_format import interval, number

_WIDTH, _ROW = 360, 38

_SVG = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
_TEXT = Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>')
_BAR = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" class="{}"/>')
_LINE = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar of a chart; it and the ends of its interval are shares of the whole width."""

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
    """Draw a bar with its interval per system, from the ``systems`` of ``report.json``."""
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


def _svg(title: str, height: float, parts: Iterable[Markup]) -> Markup:
    return _SVG.format(_WIDTH, height, title, Markup("").join(parts))
