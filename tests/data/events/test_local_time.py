"""Local hours against the standard library, one moment at a time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.events.local_time import is_zone, local_hours

ZONES = ("UTC", "Europe/Berlin", "Asia/Seoul", "Asia/Kolkata", "America/St_Johns")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_clock_goes_forward_in_spring():
    times = np.array([seconds("2024-03-31T00:30:00"), seconds("2024-03-31T01:30:00")])
    hours, weekdays = local_hours(times, "Europe/Berlin")
    assert hours.tolist() == [1, 3]
    assert weekdays.tolist() == [6, 6]  # a Sunday


@given(st.lists(st.integers(0, 2_000_000_000), max_size=20), st.sampled_from(ZONES))
def test_hours_and_weekdays_are_those_of_the_standard_library(times, zone):
    hours, weekdays = local_hours(np.array(times, np.float64), zone)
    moments = [datetime.fromtimestamp(time, ZoneInfo(zone)) for time in times]
    assert hours.tolist() == [moment.hour for moment in moments]
    assert weekdays.tolist() == [moment.weekday() for moment in moments]


@pytest.mark.parametrize(
    ("name", "known"), [("Europe/Berlin", True), ("Mars/Base", False), ("", False)]
)
def test_names_of_zones(name, known):
    assert is_zone(name) == known
