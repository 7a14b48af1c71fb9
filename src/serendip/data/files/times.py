"""Times as people write them: seconds, milliseconds or ISO 8601; inside, Unix seconds in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

# Seconds reach 10^11 in the year 5138; milliseconds were there in 1973. Finer units likewise.
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS = 1e11, 1e14, 1e17


def parse_time(text: str, name: str = "timestamp") -> float:
    """Unix seconds of a time.

    Args:
        text: a number of seconds (milli-, micro- or nanoseconds are told by their size), or ISO
            8601; without an offset it is UTC.
        name: the column, for the message.

    Raises:
        ValueError: it is neither, or not finite.
    """
    try:
        number = float(text)
    except ValueError:
        return _parse_iso(text, name)
    size = abs(number)
    if size < _MILLISECONDS:
        return number
    if size < _MICROSECONDS:
        return number / 1e3
    if size < _NANOSECONDS:
        return number / 1e6
    if size < 1e20:
        return number / 1e9
    raise ValueError(f"{name} {text[:40]!r} is not a time")


def _parse_iso(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        what = "is empty" if not text else f"{text[:40]!r} is not a time"
        raise ValueError(f"{name} {what}") from None
