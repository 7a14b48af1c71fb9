import gc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.arrays import distinct, locate
from serendip.data.items.allowed_items import AllowedItems, ItemSet

SIZE = 20
masks = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE).map(lambda m: np.array(m, np.bool_))
numbers = st.lists(st.integers(-3, SIZE + 3), max_size=12).map(lambda n: np.array(n, np.int32))


@settings(deadline=None)
@given(masks, masks, numbers, numbers)
def test_sets_and_left_out_items_combine_as_masks(first, second, out, more) -> None:
    """Any order of ``within`` and ``without`` is the product of the masks."""
    expected = first & second
    for number in (*out.tolist(), *more.tolist()):
        if 0 <= number < SIZE:
            expected[number] = False
    one, two = ItemSet(first), ItemSet(second)
    for allowed in (
        AllowedItems(one).without(out).within(two).without(more),
        AllowedItems.all(SIZE).without(more).within(two).without(out).within(one),
    ):
        assert np.array_equal(allowed.mask(), expected)
        assert allowed.count == expected.sum()
        everything = np.arange(SIZE, dtype=np.int32)
        assert np.array_equal(allowed.admits(everything[::-1]), expected[::-1])
        assert [number in allowed for number in range(-1, SIZE + 1)] == [
            False,
            *expected.tolist(),
            False,
        ]
        assert (np.diff(allowed.excluded) > 0).all()


def test_an_intersection_is_computed_once_and_goes_with_its_sets() -> None:
    one, two = (ItemSet(np.arange(8) % step == 0) for step in (2, 3))
    both = one.intersection(two)
    assert one.intersection(two) is both
    assert one.intersection(ItemSet.all(8)) is one
    assert ItemSet.all(8).intersection(two) is two
    assert both.numbers.tolist() == [0, 6]
    assert both.bits.tolist() == [0b1000001]
    del two
    gc.collect()
    assert not len(one._intersections)


@given(numbers, numbers)
def test_values_are_located_in_an_ascending_array(values, asked) -> None:
    ascending = distinct(values)
    assert ascending.tolist() == sorted(set(values.tolist()))
    positions, found = locate(ascending, asked)
    assert found.tolist() == [value in values.tolist() for value in asked.tolist()]
    assert np.array_equal(ascending[positions[found]], asked[found])


@settings(deadline=None)
@given(masks, numbers, numbers)
def test_ascending_items_are_admitted_as_any_others(mask, out, asked) -> None:
    """The faster ways for ascending numbers give what the general ones give."""
    allowed = AllowedItems(ItemSet(mask)).without(out)
    same = AllowedItems(ItemSet(mask)).without_ascending(distinct(out))
    assert np.array_equal(allowed.excluded, same.excluded)
    items = distinct(asked[(asked >= 0) & (asked < SIZE)])
    assert np.array_equal(allowed.admits_ascending(items), allowed.admits(items))
    assert np.array_equal(allowed.admits(items), allowed.mask()[items])
