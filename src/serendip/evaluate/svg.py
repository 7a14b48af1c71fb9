"""Drawing in SVG: a canvas with a few shapes, nothing more.

Colours come from the classes of the page's style sheet, so that a drawing follows light and dark.
All text is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

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
