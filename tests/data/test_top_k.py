import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.item_list import tie_order, top_k


def test_ties_do_not_follow_the_order_of_the_catalogue_also_of_new_items():
    found = top_k(np.zeros(1000, np.float32), 1000).item_nums
    assert sorted(found.tolist()) == list(range(1000))
    assert abs(np.corrcoef(found, np.arange(1000))[0, 1]) < 0.1

    before = tie_order(1000)
    assert tie_order(1001)[:1000].tolist() == before.tolist()
    assert np.shares_memory(tie_order(1024), before)
    assert all(len(set(tie_order(count).tolist())) == count for count in (0, 1, 2, 3, 1025))


FEW_VALUES = st.sampled_from([0.0, 1.0, 2.0, -1.0, float("nan"), float("-inf"), 0.5])


@given(st.lists(FEW_VALUES, max_size=30), st.integers(-2, 35))
def test_top_k_is_the_beginning_of_a_full_sort(values, k):
    scores = np.array(values, dtype=np.float32)
    order = tie_order(len(scores))
    usable = [n for n in range(len(scores)) if scores[n] > -np.inf]
    wanted = sorted(usable, key=lambda n: (-scores[n], order[n]))[: max(k, 0)]
    found = top_k(scores, k)
    assert found.item_nums.tolist() == wanted
    assert found.scores.tolist() == [scores[n] for n in wanted]
