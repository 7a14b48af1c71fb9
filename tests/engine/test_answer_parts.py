"""The numbers of an item in an answer."""

from __future__ import annotations

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.presenter import _parts


def test_numbers_have_five_decimals_but_a_propensity_never_becomes_0():
    columns = {
        "retriever": np.array([0.1234567, 1e-9]),
        "propensity": np.array([np.nan, 2.5e-7]),
    }
    items = ItemList(np.array([3, 4], np.int32), np.array([2.0, 1.0]), columns)
    assert _parts(items) == [{"retriever": 0.12346}, {"retriever": 0.0, "propensity": 2.5e-7}]
