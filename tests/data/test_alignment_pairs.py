import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import AlignedProjection, EventLog, cooccurring_pairs


def log(users: list[int], items: list[int]) -> EventLog:
    count = len(users)
    return EventLog(
        np.array(users, np.int32),
        np.array(items, np.int32),
        np.arange(count, dtype=np.float64),
        np.zeros(count, np.bool_),
        np.full(count, np.nan, np.float32),
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_pairs_are_those_that_a_loop_over_histories_finds(rows) -> None:
    users, items = [user for user, _ in rows], [item for _, item in rows]
    expected = []
    for user in set(users):
        history = [item for owner, item in rows if owner == user]
        expected += [
            (left, right)
            for place, left in enumerate(history)
            for right in history[place + 1 : place + 2]
            if left != right
        ]
    pairs = cooccurring_pairs(log(users, items))
    assert pairs.dtype == np.int32
    assert sorted(map(tuple, pairs.tolist())) == sorted(expected)


def test_no_movement_is_the_content_itself_and_no_content_stays_none() -> None:
    content = np.array([[3, 4], [0, 0]], np.float32)
    still = AlignedProjection(np.ones((2, 1), np.float32), np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(still.encode(content), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    turned = AlignedProjection(np.eye(2, dtype=np.float32), np.diag([-1, 0]).astype(np.float32))
    np.testing.assert_allclose(turned.encode(content), [[0, 1], [0, 0]], atol=1e-6)
