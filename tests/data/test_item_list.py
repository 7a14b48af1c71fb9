import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.item_list import ItemList
from serendip.errors import DataError

NAN = float("nan")
SCORES = st.lists(st.floats(width=32, allow_infinity=False), max_size=12)


def listed(scores):
    column = np.array(scores, np.float32)
    return ItemList(np.arange(len(scores), dtype=np.int32), column, {"copy": column})


def test_sorting_puts_the_highest_first_nan_last_and_keeps_ties():
    items = ItemList.of([5, 6, 7, 8, 9], [1.0, NAN, 3.0, 1.0, -2.0]).sorted()
    assert items.item_nums.tolist() == [7, 5, 8, 9, 6]
    assert np.isnan(items.scores[-1])


def test_an_item_appears_once_and_columns_have_one_length():
    with pytest.raises(DataError, match="twice"):
        ItemList.of([1, 1], [0.0, 1.0])

    with pytest.raises(DataError, match="'scores' has 1 values for 2 items"):
        ItemList.of([1, 2], [0.0])
    with pytest.raises(DataError, match="'part' has 3 values for 2 items"):
        ItemList(np.array([1, 2], np.int32), np.zeros(2, np.float32), {"part": np.zeros(3)})


@given(SCORES, st.data())
def test_kept_and_removed_are_the_whole_list_in_order(scores, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    keep = keep.astype(np.bool_)
    kept, removed = listed(scores).split(keep)
    assert kept.item_nums.tolist() == np.flatnonzero(keep).tolist()
    assert removed.item_nums.tolist() == np.flatnonzero(~keep).tolist()
    for part in (kept, removed):
        np.testing.assert_array_equal(part.fields["copy"], part.scores)


@given(SCORES, st.integers(0, 15))
def test_top_is_the_beginning_of_the_sorted_list(scores, k):
    items = listed(scores)
    assert items.top(k).item_nums.tolist() == items.sorted().item_nums.tolist()[:k]
