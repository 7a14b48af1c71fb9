from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.events.local_time import is_zone, local_hours

ZONES = ("UTC", "Europe/Berlin", "Asia/Seoul", "Asia/Kolkata", "America/St_Johns")


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
