"""Times in files of other engines: read, and refused if they are implausible.

A number in another unit, or a date without dashes, is a time, too, but one of another century.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from serendip.data.checks import YEAR_1990
from serendip.data.files.times import parse_time

YEAR_2100 = 4_102_444_800.0

MILLISECONDS = "milliseconds"
_UNITS = {"seconds": 1.0, MILLISECONDS: 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
"""Unit of Unix time -> how many are a second."""

_DATES = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
"""Number of digits of a date without dashes -> its format."""


def read_moment(text: str, unit: str = "") -> float:
    """Parse a time to Unix seconds.

    Args:
        text: a number or ISO 8601, see ``parse_time``.
        unit: of numbers; empty = recognised by their magnitude.

    Raises:
        ValueError: it is no time from 1990 to 2099; says what it may be.
    """
    moment = parse_time(text)
    if unit:
        with suppress(ValueError):
            moment = float(text) / _UNITS[unit]
    if _is_plausible(moment):
        return moment
    likely = f"; it looks like {name}" if (name := next(_readings(text, unit), "")) else ""
    raise ValueError(f"timestamp {text[:40]!r} is no time from 1990 to 2099{likely}")


def _is_plausible(moment: float) -> bool:
    return YEAR_1990 <= moment < YEAR_2100


def _readings(text: str, unit: str) -> Iterator[str]:
    """What a text is that is no plausible time, the likeliest first."""
    if text.isascii() and text.isdigit() and len(text) in _DATES:
        with suppress(ValueError):
            moment = datetime.strptime(text, _DATES[len(text)]).replace(tzinfo=UTC)
            if _is_plausible(moment.timestamp()):
                shown = f"{moment:%Y-%m-%d}" if len(text) == 8 else f"{moment:%Y-%m-%d %H:%M:%S}"
                yield f"the date {shown}, which is to be written so"
    with suppress(ValueError):
        number = float(text)
        for name, per_second in _UNITS.items():
            if _is_plausible(moment_s := number / per_second):
                shown = f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M:%S}"
                yield f"{name} of Unix time, {shown}, and {unit} are expected"
