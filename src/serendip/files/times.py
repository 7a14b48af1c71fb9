"""Times of a file become Unix seconds: numbers, ISO 8601, or patterns; and a time zone.

Of a column with several spellings each cell is read by its own: by the first pattern that it has,
else as a number or ISO 8601.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from serendip.data.events.local_time import UTC_ZONE, is_zone
from serendip.files.cells import number_sql, quote

# Numbers below are of a unit, of which a second has so many. Seconds reach 10^11 in the year 5138;
# milliseconds did in 1973. Finer units likewise.
_UNITS = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
# March 1973: smaller numbers may be dates such as 20260131, or say an order.
PLAUSIBLE_SECONDS = 1e8
_HOUR = "([01][0-9]|2[0-3])"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO = rf"{_DAY}([ T]{_HOUR}:[0-5][0-9](:[0-5][0-9](\.[0-9]{{1,9}})?)?)?"
_OFFSET = rf"(Z|[+-]{_HOUR}(:?[0-5][0-9])?)"

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_LONG_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
)
_DIRECTIVES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys("dmHI", "[0-9]{1,2}"),
        **dict.fromkeys("yMS", "[0-9]{2}"),
        **{"Y": "[0-9]{4}", "f": "[0-9]{1,6}", "p": "(AM|PM)"},
        **{"b": f"({_MONTHS})", "B": f"({_LONG_MONTHS})"},
    }
)  # what is read of each; a minute of one digit is half a minute
_LOCAL_ZONES = frozenset({"localtime", "posixrules", "posix", "right"})  # no zones by that name
PATTERN_SEPARATOR = " | "  # of a column with several spellings


def check_time_format(time_format: str) -> str:
    """The patterns if each names day, month and year by known directives; empty = none.

    Raises:
        ValueError: one has another directive, or no whole date.
    """
    for pattern in filter(None, time_format.split(PATTERN_SEPARATOR)):
        found = re.findall("%(.?)", pattern)
        problem = ""
        if unknown := sorted(set(found) - set(_DIRECTIVES)):
            known = " ".join(f"%{name}" for name in _DIRECTIVES)
            problem = f"has %{unknown[0]}; known are {known}"
        elif repeated := [name for name in found if found.count(name) > 1]:
            problem = f"has %{repeated[0]} twice"
        elif ("I" in found) != ("p" in found):
            problem = "needs %I with %p, or %H for hours up to 23"
        elif not all(set(found) & part for part in ({"d"}, {"Y", "y"}, {"m", "b", "B"})):
            problem = "has no day, month and year; write '%d.%m.%Y'"
        if problem:
            raise ValueError(f"time_format {pattern!r} {problem}")
    return time_format


def check_time_zone(name: str) -> str:
    """The name of a time zone if it is known; empty = UTC.

    Raises:
        ValueError: it is unknown.
    """
    if not is_zone(name or UTC_ZONE) or name.partition("/")[0] in _LOCAL_ZONES:
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

    def seconds_sql(self, text: str, number: str = "") -> str:
        """SQL of the Unix seconds of cells; NULL = it is no time.

        Cells have no blanks around them; ``number`` is the same as DOUBLE, empty = by their text.
        """
        patterns = list(filter(None, self.pattern.split(PATTERN_SEPARATOR)))
        found = [self._pattern_sql(text, pattern) for pattern in patterns]
        found.append(self._number_sql(number or number_sql(text), patterns))
        if number and not patterns:
            return found[0]
        local = self._local_sql(f"TRY_CAST({text} AS TIMESTAMP)")
        absolute = f"epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)) / 1e6"
        return (
            f"coalesce({', '.join(found)}, "
            f"CASE WHEN regexp_full_match({text}, '{_ISO}') THEN {local} "
            f"WHEN regexp_full_match({text}, '{_ISO}{_OFFSET}') THEN {absolute} END)"
        )

    def _number_sql(self, number: str, patterns: list[str]) -> str:
        if patterns and not all(re.sub("%.", "", pattern) for pattern in patterns):
            return "NULL::DOUBLE"
        cases = [f"WHEN abs({number}) < {least:e} THEN {number} / {unit}" for least, unit in _UNITS]
        seconds = f"CASE {' '.join(cases)} END"
        return (
            f"CASE WHEN {seconds} >= {PLAUSIBLE_SECONDS} THEN {seconds} END"
            if patterns
            else seconds
        )

    def _local_sql(self, moment: str) -> str:
        absolute = f"timezone('{self.zone}', {moment})" if self.zone else moment
        return f"epoch_us({absolute}) / 1e6"

    def _pattern_sql(self, text: str, pattern: str) -> str:
        moment = self._local_sql(f"TRY_STRPTIME({text}, {quote(pattern)})")
        written = quote(f"(?i){_written(pattern)}")
        return f"CASE WHEN regexp_full_match({text}, {written}) THEN {moment} END"


@cache
def _written(pattern: str) -> str:
    """Regular expression of the texts that a pattern reads.

    Directives that no sign separates have all their digits: otherwise ``%d%m%Y`` would read the
    seven digits of 1122026 in one of two ways.
    """
    parts = re.split("%(.)", pattern)  # literals at even places, directives at odd ones
    written = [re.escape(parts[0])]
    for place in range(1, len(parts), 2):
        before = parts[place - 2] if place > 1 and not parts[place - 1] else ""
        after = parts[place + 2] if place + 2 < len(parts) and not parts[place + 1] else ""
        digits = _DIRECTIVES[parts[place]]
        is_joined = not set("dmYyHIMSf").isdisjoint((before, after))
        written.append(digits.replace("{1,2}", "{2}") if is_joined else digits)
        written.append(re.escape(parts[place + 1]))
    return "".join(written)
