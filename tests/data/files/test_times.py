import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.files.times import parse_time


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
        ("2023-11-14", 1_699_920_000.0),
        ("-5", -5.0),
    ],
)
def test_seconds_milliseconds_and_iso_are_one_time(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "-inf", "1e30", "2023-13-01"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(ValueError, match="seen_at"):
        parse_time(text, "seen_at")


@given(st.integers(1_000_000_000, 4_000_000_000))
def test_units_agree(seconds):
    assert parse_time(str(seconds)) == parse_time(f"{seconds}000") == float(seconds)
