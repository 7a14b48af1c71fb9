import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.jobs.surface_quality.sample import hash_key, sample_requests

REQUESTS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), unique=True, max_size=40
)


def sample(requests: list[tuple[str, int]], limit: int) -> set[tuple[str, int]]:
    rows, keys = sample_requests(
        [user for user, _ in requests], lambda row: hash_key(*requests[row]), limit
    )
    assert keys.tolist() == [hash_key(*requests[row]) for row in rows.tolist()]
    assert (np.diff(rows) > 0).all()
    return {requests[row] for row in rows.tolist()}


@given(REQUESTS, st.integers(1, 50), st.randoms())
def test_the_order_of_the_requests_does_not_matter(requests, limit, random) -> None:
    shuffled = list(requests)
    random.shuffle(shuffled)
    chosen = sample(requests, limit)
    assert sample(shuffled, limit) == chosen
    assert len(chosen) == min(limit, len(requests))


@given(REQUESTS, st.integers(1, 50))
def test_every_user_gives_a_request_before_any_gives_a_second(requests, limit) -> None:
    chosen = sample(requests, limit)
    counts = {user: sum(one == user for one, _ in chosen) for user, _ in requests}
    possible = {user: sum(one == user for one, _ in requests) for user in counts}
    for user, count in counts.items():
        if count < possible[user]:  # this user could have given more
            assert max(counts.values()) <= count + 1


@given(REQUESTS, st.integers(1, 20))
def test_a_request_of_a_growing_log_stays_unless_another_takes_its_place(requests, limit) -> None:
    before, after = sample(requests[: len(requests) // 2], limit), sample(requests, limit)
    added = len(requests) - len(requests) // 2
    assert len(before - after) <= added
    if len(requests) <= limit:
        assert before <= after


def test_no_requests_give_no_sample() -> None:
    rows, keys = sample_requests([], lambda row: row, 5)
    assert (len(rows), len(keys)) == (0, 0)
