"""Slices keep what they say, and nothing disappears."""

import numpy as np
import pytest

from serendip.errors import DataError
from serendip.evaluate.runs import Judged
from serendip.evaluate.slices import slices


def judged(**flags):
    count = len(next(iter(flags.values()))) if flags else 3
    columns = {name: np.array(column, dtype=bool) for name, column in flags.items()}
    return Judged(
        np.arange(count, dtype=np.int32), np.arange(count), np.zeros(count, dtype=int), columns
    )


def test_cold_and_warm_share_all_requests_between_them():
    masks = slices(judged(cold_item=[True, False, False], cold_user=[False, False, True]))
    assert list(masks) == ["all", "warm items", "cold items", "warm users", "cold users"]
    assert masks["all"].tolist() == [True, True, True]
    assert masks["cold items"].tolist() == [True, False, False]
    assert (masks["cold items"] ^ masks["warm items"]).all()
    assert (masks["cold users"] ^ masks["warm users"]).all()


def test_an_unknown_flag_is_refused():
    with pytest.raises(DataError, match="'mystery' belongs to no slice"):
        slices(judged(mystery=[True]))
