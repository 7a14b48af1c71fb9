import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import ItemList
from serendip.data.item_list import tie_order
from serendip.search.searcher import reciprocal_rank_fusion

NUM_ITEMS = 12
RANKING = st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=NUM_ITEMS)


def ranked(numbers):
    return ItemList.of(numbers, np.linspace(1, 0, len(numbers)))


def test_scores_are_the_sum_of_reciprocal_ranks_and_equal_ones_in_a_fixed_order():
    fused = reciprocal_rank_fusion([ranked([3, 5]), ranked([5])], NUM_ITEMS)
    assert fused.item_nums.tolist() == [5, 3]
    np.testing.assert_allclose(fused.scores, [1 / 62 + 1 / 61, 1 / 61], rtol=1e-6)
    fused = reciprocal_rank_fusion([ranked([4, 7]), ranked([7, 4])], NUM_ITEMS)
    assert fused.item_nums.tolist() == sorted([4, 7], key=lambda n: tie_order(NUM_ITEMS)[n])


@given(st.lists(RANKING, max_size=5), st.randoms())
def test_the_order_of_the_lists_does_not_matter(rankings, random):
    shuffled = random.sample(rankings, len(rankings))
    one, two = (
        reciprocal_rank_fusion([ranked(one) for one in lists], NUM_ITEMS)
        for lists in (rankings, shuffled)
    )
    assert one.item_nums.tolist() == two.item_nums.tolist()
    assert one.scores.tolist() == two.scores.tolist()
