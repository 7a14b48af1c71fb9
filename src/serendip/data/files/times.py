"""Times of a file become Unix seconds: numbers, ISO 8601, or patterns; and a time zone.

Of a column with several spellings each cell is read by its own: by the first pattern that it has,
else as a number or ISO 8601.

SQL and Python say the same: the SQL has a value only where the text matches the pattern digit by
digit, and NULL where Python is to read the cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from serendip.data.files.cells import CellSql, micros_sql, number_sql, text_sql

# Seconds reach 10^11 in the year 5138; milliseconds did in 1973. Finer units likewise.
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS, _NONE = 1e11, 1e14, 1e17, 1e20

_SECONDS_BESIDE_PATTERNS = 1e8
"""Of March 1973: smaller numbers may be dates such as 20260131."""

_HOURS = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_CLOCK = rf"{_HOURS}(:[0-5][0-9](\.[0-9]{{1,6}})?)?"
_OFFSET = rf"(Z|[+-]{_HOURS})"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO, _ISO_WITH_OFFSET = rf"{_DAY}([ T]{_CLOCK})?", rf"{_DAY}[ T]{_CLOCK}{_OFFSET}"


_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_LONG_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
)
_DIRECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "d": "[0-9]{1,2}",
        "m": "[0-9]{1,2}",
        "Y": "[0-9]{4}",
        "y": "[0-9]{2}",
        "H": "[0-9]{1,2}",
        "I": "[0-9]{1,2}",
        "M": "[0-9]{1,2}",
        "S": "[0-9]{1,2}",
        "f": "[0-9]{1,6}",
        "p": "(AM|PM)",
        "b": f"({_MONTHS})",
        "B": f"({_LONG_MONTHS})",
    }
)
"""Directives of ``strptime`` -> what is read of them."""
_DIGITS = frozenset("dmYyHIMSf")
_LOCAL_ZONES = frozenset({"localtime", "posixrules", "posix", "right"})
"""Files and folders among the time zones of a machine that are none by that name."""


PATTERN_SEPARATOR = " | "
"""Between the patterns of a column with several spellings."""


def check_time_format(time_format: str) -> str:
    """The patterns if each names day, month and year by known directives; empty = none.

    Raises:
        ValueError: one has another directive, or no whole date.
    """
    for pattern in time_format.split(PATTERN_SEPARATOR):
        _check_pattern(pattern)
    return time_format


def _check_pattern(pattern: str) -> None:
    names = re.findall("%(.?)", pattern)
    found = set(names)
    if unknown := sorted(found - set(_DIRECTIVES)):
        known = " ".join(f"%{name}" for name in _DIRECTIVES)
        raise ValueError(f"time_format {pattern!r} has %{unknown[0]}; known are {known}")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"time_format {pattern!r} has %{repeated[0]} twice")
    if ("I" in found) != ("p" in found):
        raise ValueError(f"time_format {pattern!r} needs %I with %p, or %H for hours up to 23")
    is_date = "d" in found and found & {"Y", "y"} and found & {"m", "b", "B"}
    if pattern and not is_date:
        raise ValueError(f"time_format {pattern!r} has no day, month and year; write '%d.%m.%Y'")


def check_time_zone(name: str) -> str:
    """The name of a time zone if it is known; empty = UTC.

    Raises:
        ValueError: it is unknown.
    """
    try:
        ZoneInfo(name or "UTC")
    except (LookupError, ValueError, OSError):
        is_known = False
    else:
        is_known = name.partition("/")[0] not in _LOCAL_ZONES
    if not is_known:
        raise ValueError(f"time_zone {name!r} is unknown; write one such as 'Asia/Seoul'")
    return name


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How the times of a file are written.

    Args:
        pattern: of ``strptime``, such as ``%d.%m.%Y %H:%M``; several are separated by `` | ``. What
            has none of them is a number of seconds, milli-, micro- or nanoseconds, recognised by
            magnitude, or ISO 8601. Beside patterns only numbers from 1973 on are, and
            none beside a pattern of digits alone, such as ``%Y%m%d``.
        zone: IANA name of the time zone of times without an offset; empty = UTC. Of the two moments
            of an hour that a clock shows twice it is the later one.
    """

    pattern: str = ""
    zone: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, in the order in which they are tried."""
        return tuple(filter(None, self.pattern.split(PATTERN_SEPARATOR)))

    def pattern_of(self, text: str) -> str:
        """The first pattern that a text has; empty = none."""
        matches = (
            pattern
            for pattern in self.patterns
            if re.fullmatch(_matched(pattern, r"\s+"), text, re.IGNORECASE)
        )
        return next(matches, "")

    @property
    def _least_number(self) -> float:
        """Seconds from which on a number is a time: beside patterns it may be a date."""
        if not self.pattern:
            return -math.inf
        has_signs = all(re.sub("%.", "", pattern) for pattern in self.patterns)
        return _SECONDS_BESIDE_PATTERNS if has_signs else math.inf

    def parse(self, text: str, name: str = "timestamp") -> float:
        """Unix seconds of a time.

        Args:
            text: as the file has it.
            name: the column, for the error message.

        Raises:
            ValueError: it is no such time.
        """
        try:
            if written := self.pattern_of(text):
                return self._seconds(datetime.strptime(text, written))
            if (seconds := _parse_number(text, name)) is not None and seconds >= self._least_number:
                return seconds
            if self.pattern and not re.fullmatch(f"{_ISO}|{_ISO_WITH_OFFSET}", text):
                raise ValueError
            return self._seconds(datetime.fromisoformat(text))
        except (ValueError, OverflowError):
            what = "is empty" if not text else f"{text[:40]!r} is not a time"
            expected = f" like {self.pattern!r}" if self.pattern and text else ""
            raise ValueError(f"{name} {what}{expected}") from None

    def seconds_sql(self, cell: CellSql) -> str:
        """SQL of ``parse`` for the usual spellings; NULL for an empty cell and all others."""
        if cell.seconds:
            return cell.seconds
        if cell.moment:
            return self._local_sql(cell.moment)
        seconds = _number_seconds_sql(number_sql(cell))
        if self.pattern:
            least = self._least_number
            is_time = "false" if math.isinf(least) else f"{seconds} >= {least:e}"
            seconds = f"CASE WHEN {is_time} THEN {seconds} END"
        elif cell.number:
            return seconds
        text = f"trim({text_sql(cell)})"
        written = [self._pattern_sql(text, pattern) for pattern in self.patterns]
        local = self._local_sql(f"TRY_CAST({text} AS TIMESTAMP)")
        absolute = micros_sql(f"epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))")
        return (
            f"coalesce({', '.join([*written, seconds])}, "
            f"CASE WHEN regexp_full_match({text}, '{_ISO}') THEN {local} "
            f"WHEN regexp_full_match({text}, '{_ISO_WITH_OFFSET}') THEN {absolute} END)"
        )

    def _seconds(self, moment: datetime) -> float:
        if moment.tzinfo is not None:
            return moment.timestamp()
        if not self.zone:
            return moment.replace(tzinfo=UTC).timestamp()
        local = moment.replace(tzinfo=ZoneInfo(self.zone))
        return max(local.timestamp(), local.replace(fold=1).timestamp())

    def _local_sql(self, moment: str) -> str:
        """Unix seconds of a TIMESTAMP of the time zone."""
        absolute = f"timezone('{self.zone}', {moment})" if self.zone else moment
        return micros_sql(f"epoch_us({absolute})")

    def _pattern_sql(self, text: str, pattern: str) -> str:
        pattern, digits = (sql.replace("'", "''") for sql in (pattern, _matched(pattern, " ")))
        moment = self._local_sql(f"TRY_STRPTIME({text}, '{pattern}')")
        return f"CASE WHEN regexp_full_match({text}, '{digits}') THEN {moment} END"


@cache
def _matched(pattern: str, blank: str) -> str:
    """Regular expression of the texts that a pattern reads.

    Directives that no sign separates have all their digits: otherwise ``%H%M%S`` would read the
    four digits of 17:07 as 17:00:07.

    Args:
        pattern: of ``TimeFormat``.
        blank: what a blank of the pattern matches.
    """
    parts = re.split("%(.)", pattern)  # literals and directives in turn
    matched = []
    for place, part in enumerate(parts):
        if place % 2 == 0:
            matched.append(re.escape(part).replace(r"\ ", blank))
            continue
        beside = [
            parts[place + 2 * step]
            for step in (-1, 1)
            if not parts[place + step] and 0 < place + 2 * step < len(parts)
        ]
        is_joined = not _DIGITS.isdisjoint(beside)
        digits = _DIRECTIVES[part]
        matched.append(digits.replace("{1,2}", "{2}") if is_joined else digits)
    return "".join(matched)


def parse_time(text: str, name: str = "timestamp") -> float:
    """Unix seconds of a number or of ISO 8601, see ``TimeFormat``; UTC if it has no offset.

    Args:
        text: of the time.
        name: the column, for the error message.

    Raises:
        ValueError: it is neither, or not finite.
    """
    return TimeFormat().parse(text, name)


def _parse_number(text: str, name: str) -> float | None:
    """Unix seconds of a number of seconds, milli-, micro- or nanoseconds; None = it is no number.

    Args:
        text: the unit is recognised by magnitude.
        name: the column, for the error message.

    Raises:
        ValueError: it is not finite, or too large for a time.
    """
    try:
        number = float(text)
    except ValueError:
        return None
    magnitude = abs(number)
    for least, unit in (
        *((_MILLISECONDS, 1.0), (_MICROSECONDS, 1e3)),
        *((_NANOSECONDS, 1e6), (_NONE, 1e9)),
    ):
        if magnitude < least:
            return number / unit
    raise ValueError(f"{name} {text[:40]!r} is not a time")


def _number_seconds_sql(number: str) -> str:
    """SQL of ``_parse_number`` of a DOUBLE; NULL where it is none."""
    return (
        f"CASE WHEN abs({number}) < {_MILLISECONDS:e} THEN {number} "
        f"WHEN abs({number}) < {_MICROSECONDS:e} THEN {number} / 1e3 "
        f"WHEN abs({number}) < {_NANOSECONDS:e} THEN {number} / 1e6 "
        f"WHEN abs({number}) < {_NONE:e} THEN {number} / 1e9 END"
    )
