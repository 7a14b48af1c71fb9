"""Timestamp parsing: Unix seconds to nanoseconds or ISO 8601 become Unix seconds in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from serendip.data.files.cells import CellSql, micros_sql, number_sql, text_sql

# Seconds reach 10^11 in the year 5138; milliseconds did in 1973. Finer units likewise.
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS, _NONE = 1e11, 1e14, 1e17, 1e20

_HOURS = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_CLOCK = rf"{_HOURS}(:[0-5][0-9](\.[0-9]{{1,6}})?)?"
_OFFSET = rf"(Z|[+-]{_HOURS})"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO, _ISO_WITH_OFFSET = rf"{_DAY}([ T]{_CLOCK})?", rf"{_DAY}[ T]{_CLOCK}{_OFFSET}"


def parse_time(text: str, name: str = "timestamp") -> float:
    """Parse a time to Unix seconds.

    Args:
        text: a number (seconds, milli-, micro- or nanoseconds, recognised by magnitude), or ISO
            8601; UTC if it has no offset.
        name: the column, for the error message.

    Raises:
        ValueError: it is neither, or not finite.
    """
    try:
        number = float(text)
    except ValueError:
        return _parse_iso(text, name)
    magnitude = abs(number)
    if magnitude < _MILLISECONDS:
        return number
    if magnitude < _MICROSECONDS:
        return number / 1e3
    if magnitude < _NANOSECONDS:
        return number / 1e6
    if magnitude < _NONE:
        return number / 1e9
    raise ValueError(f"{name} {text[:40]!r} is not a time")


def seconds_sql(cell: CellSql) -> str:
    """SQL of ``parse_time`` for the usual spellings; NULL for an empty cell and all others."""
    if cell.seconds:
        return cell.seconds
    number = number_sql(cell)
    seconds = (
        f"CASE WHEN abs({number}) < {_MILLISECONDS:e} THEN {number} "
        f"WHEN abs({number}) < {_MICROSECONDS:e} THEN {number} / 1e3 "
        f"WHEN abs({number}) < {_NANOSECONDS:e} THEN {number} / 1e6 "
        f"WHEN abs({number}) < {_NONE:e} THEN {number} / 1e9 END"
    )
    if cell.number:
        return seconds
    text = f"trim({text_sql(cell)})"
    local = micros_sql(f"epoch_us(TRY_CAST({text} AS TIMESTAMP))")
    absolute = micros_sql(f"epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))")
    return (
        f"coalesce({seconds}, CASE WHEN regexp_full_match({text}, '{_ISO}') THEN {local} "
        f"WHEN regexp_full_match({text}, '{_ISO_WITH_OFFSET}') THEN {absolute} END)"
    )


def _parse_iso(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        what = "is empty" if not text else f"{text[:40]!r} is not a time"
        raise ValueError(f"{name} {what}") from None
