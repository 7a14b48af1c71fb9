import math
import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.files.cells import evaluate
from serendip.files.times import TimeFormat, check_time_format, check_time_zone


def seconds_of(texts: Sequence[str], pattern: str = "", zone: str = "") -> list[float | None]:
    return evaluate(texts, TimeFormat(pattern, zone).seconds_sql)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1_700_000_000.0),
        ("1700000000.25", 1_700_000_000.25),
        ("1700000000000", 1_700_000_000.0),
        ("1700000000000000", 1_700_000_000.0),
        ("1700000000000000000", 1_700_000_000.0),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        ("2023-11-15T07:13:20+09:00", 1_700_000_000.0),
        ("2023-11-14 22:13:20+00", 1_700_000_000.0),
        ("2023-11-14", 1_699_920_000.0),
        ("-5", -5.0),
        *((text, None) for text in ("", "yesterday", "nan", "inf", "-inf", "1e30", "2023-13-01")),
        *((text, None) for text in ("2023-11-14 22:1", "2023-11-14 22:13:2", "2023-1-14")),
    ],
)
def test_seconds_milliseconds_and_iso_are_one_time(text: str, seconds: float | None) -> None:
    assert seconds_of([text]) == [seconds]


FORMATS = ("%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M %p", "%Y%m%d", "%d %b %Y", "%H.%M '%d' (%B) %Y")
MOMENTS = st.datetimes(datetime(1990, 1, 2), datetime(2068, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(MOMENTS, min_size=1, max_size=5),
    st.sampled_from(FORMATS),
    st.sampled_from(["", "Europe/Berlin", "Asia/Seoul"]),
)
def test_times_are_those_of_strptime(moments: list[datetime], pattern: str, zone: str) -> None:
    texts = [moment.strftime(pattern) for moment in moments]
    expected = []
    for text in texts:
        local = datetime.strptime(text, pattern).replace(tzinfo=ZoneInfo(zone or "UTC"))
        expected.append(max(local.timestamp(), local.replace(fold=1).timestamp()))
    assert seconds_of(texts, pattern, zone) == expected


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("%Y%m%d%H%M%S", "20261231170759", ["202612311707", "2026123117075"]),
        ("%Y%m%d%H%M", "202612311707", ["20261231170759", "2026123117"]),
        ("%d%m%Y", "31122026", ["1122026"]),
        ("%d.%m.%Y %H%M", "1.2.2026 1707", ["1.2.2026 177"]),
        ("%d.%m.%Y %H:%M", "1.2.2026 7:07", ["1.2.2026 7:0", "31.02.2026 7:07", "1700000"]),
        ("%d%b%Y", "1Feb2026", ["1F2026"]),
        ("%Y年%m月%d日", "2026年1月2日", ["2026年1月2"]),
    ],
)
def test_a_pattern_reads_whole_times(pattern: str, good: str, bad: list[str]) -> None:
    (seconds,) = seconds_of([good], pattern)
    assert seconds is not None
    assert math.isclose(seconds, datetime.strptime(good + "+0000", pattern + "%z").timestamp())
    assert seconds_of(bad, pattern) == [None] * len(bad)


@pytest.mark.parametrize(
    "pattern",
    ["%H:%M", "%d.%m.%Y %Q", "dd.mm.yyyy", "%d.%m.%Y %I:%M", "%d.%m.%Y %H:%M %p", "%d.%d.%m.%Y"],
)
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        check_time_format(pattern)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "localtime", "posixrules", "right/Europe/Berlin"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match=zone):
        check_time_zone(zone)
