"""Number formats for people, shared by the verdict and the report page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NOTHING = "\N{EN DASH}"


def percent(share: float | None) -> str:
    """``18.2 %``; two decimals below one percent; a dash for None."""
    return NOTHING if share is None else f"{hundredths(share)} %"


def number(value: float | None) -> str:
    """Three decimals up to ten, two above, thousands separated for whole numbers."""
    if value is None:
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) < 0.01 and value != 0:
        return f"{value:.4f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.2f}"


def signed(value: float | None) -> str:
    """Difference with its sign: ``+0.017``."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def interval(estimate: Mapping[str, Any], form: Callable[[float], str] = number) -> str:
    """``0.169 to 0.196``, or a dash without an interval; ``form`` writes its ends."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return NOTHING
    return f"{form(estimate['low'])} to {form(estimate['high'])}"


def seconds(value: float | None) -> str:
    """``0.42 s``, ``12.3 s``, ``2 min 05 s``."""
    if value is None:
        return NOTHING
    if round(value, 1) >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def hundredths(share: float) -> str:
    """A share in percent: ``18.2``; two decimals below one percent."""
    value = 100.0 * share
    return f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2f}"
