"""Local hour and weekday of moments, by the time zones of countries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from serendip.data.arrays import IntArray, TimeArray

UTC_ZONE = "UTC"

_HOUR, _DAY = 3_600, 86_400
_THURSDAY = 3  # weekday of 1 January 1970


@lru_cache(4_096)
def _offset(zone: str, hour: int) -> int:  # seconds ahead of UTC in an hour since 1970
    if zone == UTC_ZONE:
        return 0
    moment = datetime.fromtimestamp(hour * _HOUR, UTC).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def is_zone(name: str) -> bool:
    """Whether a name is that of a time zone, such as ``Europe/Berlin``."""
    if name == UTC_ZONE:  # known without the operating system's time zones
        return True
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


def local_hours(times: TimeArray, zone: str) -> tuple[IntArray, IntArray]:
    """Local hours and weekdays of moments (E,), Unix seconds, in a zone with an IANA name.

    Returns:
        (E,) int32 hours, 0 to 23, and (E,) int32 weekdays, 0 = Monday.
    """
    seconds = np.floor(times).astype(np.int64)
    hours, places = np.unique(seconds // _HOUR, return_inverse=True)
    offsets = np.array([_offset(zone, hour) for hour in hours.tolist()], np.int64)
    local = seconds + offsets[places] if len(hours) else seconds
    return (
        (local % _DAY // _HOUR).astype(np.int32),
        ((local // _DAY + _THURSDAY) % 7).astype(np.int32),
    )


def zone_of(country: str, zones: Mapping[str, str], default: str) -> str:
    """Time zone of a country; the default one for a country without one."""
    return zones.get(country, default)
