import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.query import SEARCHED, History, select_relevant_history

# Items 0-2 share both codes, 3 shares the first one with them, the others share nothing.
CODES = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [2, 0], [3, 0]], np.int32)


def history(items: list[int]) -> History:
    count = len(items)
    return History(np.array(items, np.int32), np.arange(count) * 1.0, np.arange(count) % 2 == 0)


def test_of_a_condensed_history_only_what_was_pulled_in_is_considered() -> None:
    past = History(np.array([0, 1, 2, 4, 5], np.int32), np.arange(5.0), np.zeros(5, bool), 1)
    assert select_relevant_history(
        past, CODES, CODES[:1], recent=2, recalled=2
    ).timestamps.tolist() == [0, 3, 4]

    past = history([-1, 99, 0, 0, -1, 99])
    assert select_relevant_history(
        past, CODES, CODES[:1], recent=2, recalled=2
    ).timestamps.tolist() == [3, 4, 5]
    bare = np.empty((7, 0), np.int32)
    assert select_relevant_history(
        past, bare, bare[:1], recent=2, recalled=2
    ).timestamps.tolist() == [4, 5]


items = st.lists(st.integers(0, 11), max_size=40)
code_rows = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=12, max_size=12)


@given(
    items, code_rows, st.lists(st.integers(0, 11), max_size=3), st.integers(1, 6), st.integers(0, 6)
)
def test_as_one_would_choose_by_hand(past, rows, named, recent, recalled) -> None:
    codes = np.array(rows, np.int32)
    whole = history(past)
    found = select_relevant_history(whole, codes, codes[named], recent, recalled)
    if len(past) <= recent + recalled:
        assert found is whole
        return
    border = len(past) - recent
    chosen = by_hand(past, rows, named, border, recalled)
    assert found.timestamps.tolist() == [*chosen, *range(border, len(past))]
    assert found.item_nums.tolist() == [past[row] for row in found.timestamps.astype(int)]
    assert found.recalled == len(chosen)


def by_hand(past, rows, named, border, recalled) -> list[int]:
    def prefix(one, other):
        return next((n for n in range(3) if rows[one][n] != rows[other][n]), 3)

    def depth(item):
        by_name = max((prefix(item, other) for other in named), default=0)
        return by_name, max(prefix(item, other) for other in past[border:][-10:])

    last = {item: row for row, item in enumerate(past[:border]) if item not in past[border:]}
    best = sorted(last, key=lambda item: (*depth(item), last[item]), reverse=True)
    return sorted([last[item] for item in best if depth(item) > (0, 0)][:recalled])


def test_of_a_very_long_history_the_newest_part_is_searched() -> None:
    kept, before = history([5] + [0] + [6] * SEARCHED), history([5] + [0] + [6] * (SEARCHED + 2))
    for past, found in ((kept, True), (before, False)):
        part = select_relevant_history(past.first(len(past) - 1), CODES, CODES[:1], 1, 2)
        assert (0 in part.item_nums.tolist()) == found


def test_what_is_kept_of_a_history_follows_the_codes() -> None:
    past = history([4, 0, 5, 3, 1, 4, 5, 6])
    other = CODES[::-1].copy()
    first = select_relevant_history(past, CODES, CODES[2:3], recent=2, recalled=2)
    turned = select_relevant_history(past, other, other[2:3], recent=2, recalled=2)
    fresh = history([4, 0, 5, 3, 1, 4, 5, 6])
    expected = select_relevant_history(fresh, other, other[2:3], recent=2, recalled=2)
    assert turned.item_nums.tolist() == expected.item_nums.tolist()
    assert first.item_nums.tolist() != turned.item_nums.tolist()
