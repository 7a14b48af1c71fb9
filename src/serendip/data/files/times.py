"""Timestamp parsing: Unix seconds to nanoseconds or ISO 8601 become Unix seconds in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

# Seconds reach 10^11 in the year 5138; milliseconds did in 1973. Finer units likewise.
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS = 1e11, 1e14, 1e17


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
    if magnitude < 1e20:
        return number / 1e9
    raise ValueError(f"{name} {text[:40]!r} is not a time")


def _parse_iso(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        what = "is empty" if not text else f"{text[:40]!r} is not a time"
        raise ValueError(f"{name} {what}") from None
