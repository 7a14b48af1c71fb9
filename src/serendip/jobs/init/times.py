"""Guesses how the times of a column are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

from serendip.data.arrays import TimeArray
from serendip.files.cells import evaluate, number_sql
from serendip.files.names import names
from serendip.files.times import PATTERN_SEPARATOR, PLAUSIBLE_SECONDS, TimeFormat

MIN_SHARE = 0.95
"""Minimum share of the filled cells that have the format."""
_MOST_SPELLINGS = 3
"""Patterns of one column at most, beside numbers and ISO 8601."""
_DAY = 86_400.0
_EARLIEST, _LATEST = 631_152_000.0, 4_102_444_800.0
"""Unix seconds of 1990 and 2100: numbers outside are counts, prices or codes."""
_EARLIEST_MOMENT = "2000000000"
"""Year first since 2020; as Unix seconds such numbers are of 2033 and later."""


@cache
def _patterns() -> tuple[str, ...]:
    known = names("times")
    clocks = map("".join, product(known["dates"], known["joints"], known["clocks"]))
    return (*known["dates"], *clocks, *known["moments"])


def find_time_formats(cells: Sequence[str], given: str = "") -> list[str]:
    """Formats in which nearly all cells are times of 1990 to 2100.

    Cells that are spelt alike are looked at apart, for a column may have several spellings.

    Args:
        cells: filled ones.
        given: the format to try, beside numbers and ISO 8601; empty = all known ones.

    Returns:
        patterns of ``TimeFormat``; only "" if they are numbers or ISO 8601; two or more where the
        order of day and month is open.
    """
    if not cells:
        return []
    if given:
        return [pattern for pattern in (given, "") if _fits(pattern, cells)][:1]
    if _fits("", cells):
        return [] if _are_moments(cells) else [""]
    alike: dict[str, list[str]] = {}
    for cell in cells:
        alike.setdefault(re.sub(r"[^\W\d]+", "a", re.sub(r"\d+", "0", cell)), []).append(cell)
    least = (1.0 - MIN_SHARE) / 2 * len(cells)
    large = [group for group in alike.values() if len(group) >= least and not _fits("", group)]
    found = dict.fromkeys(filter(None, map(_find_patterns, large)))
    if not 0 < len(found) <= _MOST_SPELLINGS:
        return []
    mixed = map(PATTERN_SEPARATOR.join, map(dict.fromkeys, product(*found)))
    return [time_format for time_format in mixed if _fits(time_format, cells)]


def _find_patterns(alike: Sequence[str]) -> tuple[str, ...]:
    """The patterns that nearly all of some cells have."""
    signs = set(alike[0])
    likely = [pattern for pattern in _patterns() if set(re.sub("%.", "", pattern)) <= signs]
    return tuple(pattern for pattern in likely if _fits(pattern, alike))


def drop_future_formats(cells: Sequence[str], formats: Sequence[str], now: float) -> list[str]:
    """The formats in which no cell is after the present; all of them if none is such.

    Args:
        cells: filled ones, times of what has happened.
        formats: patterns of ``TimeFormat``.
        now: Unix seconds.
    """
    end = now + _DAY  # a clock elsewhere may be ahead
    past = [pattern for pattern in formats if not (read_times(cells, pattern) > end).any()]
    return past or list(formats)


def find_odd_time(cells: Sequence[str]) -> str:
    """A cell that is no time, of a column for which ``find_time_formats`` finds none.

    ISO 8601 of any year is a time. A number is one if it says a mere order, as 0, 1, 2 do, and does
    not look like a date.

    Args:
        cells: filled ones.

    Returns:
        the first such cell if they are too many; empty = they are not.
    """
    if _reads_any(cells, "number_dates"):
        return cells[0]
    seconds = read_times(cells)
    is_number = np.array([number is not None for number in evaluate(cells, number_sql)])
    is_odd = np.isnan(seconds) | (is_number & (np.abs(seconds) >= PLAUSIBLE_SECONDS))
    return cells[int(is_odd.argmax())] if is_odd.mean() > 1.0 - MIN_SHARE else ""


def reads_most(cells: Sequence[str], pattern: str) -> bool:
    """True if nearly all cells are read by a pattern, whatever their year."""
    return bool(np.isfinite(read_times(cells, pattern)).mean() >= MIN_SHARE)


def read_times(cells: Sequence[str], pattern: str = "") -> TimeArray:
    """(N,) Unix seconds of cells; NaN = it is no time."""
    return np.array(evaluate(cells, TimeFormat(pattern).seconds_sql), np.float64)


def _are_moments(cells: Sequence[str]) -> bool:
    """True for digits of dates and hours that would be Unix seconds of a far year."""
    return min(cells) >= _EARLIEST_MOMENT and _reads_any(cells, "number_moments")


def _reads_any(cells: Sequence[str], table: str) -> bool:
    """True if cells of digits alone are nearly all read by a pattern of a table."""
    is_number = all(map(str.isdecimal, cells))
    return is_number and any(reads_most(cells, pattern) for pattern in names("times")[table])


def _fits(pattern: str, cells: Sequence[str]) -> bool:
    seconds = read_times(cells, pattern)
    return bool(((seconds >= _EARLIEST) & (seconds <= _LATEST)).mean() >= MIN_SHARE)
