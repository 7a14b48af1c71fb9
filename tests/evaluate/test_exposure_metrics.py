"""Coverage, novelty and Gini by hand-made worlds, and the honesty of their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.evaluate.metrics import metric, surprise


def gini_of(counts, size):
    """The textbook definition: mean absolute difference over twice the mean."""
    exposure = np.zeros(size)
    exposure[: len(counts)] = counts
    return np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())


def lists_of(rows):
    return np.array(rows, dtype=np.int32)


def test_coverage_is_the_share_of_distinct_items_within_k():
    lists = lists_of([[0, 1, 9], [1, 2, 9], [0, 2, 9]])
    groups = np.arange(3)
    assert metric("Coverage@2").of_exposure(lists, groups, 10)[0] == 0.3
    assert metric("Coverage@3").of_exposure(lists, groups, 10)[0] == 0.4


def test_coverage_ignores_padding():
    lists = lists_of([[0, -1], [-1, -1]])
    assert metric("Coverage@2").of_exposure(lists, np.arange(2), 4)[0] == 0.25


def test_more_items_than_the_catalogue_has_are_refused():
    for name in ("Coverage", "Gini"):
        with pytest.raises(DataError, match="3 items are shown of a catalogue of 2"):
            metric(f"{name}@3").of_exposure(lists_of([[0, 1, 2]]), np.zeros(1, dtype=int), 2)


def test_lists_shorter_than_k_are_refused():
    with pytest.raises(DataError, match="cannot be judged at 10"):
        metric("Coverage@10").of_exposure(lists_of([[0, 1]]), np.zeros(1, dtype=int), 5)


def test_gini_is_0_when_all_items_are_shown_alike():
    lists = lists_of([[0, 1], [2, 3]])
    assert metric("Gini@2").of_exposure(lists, np.arange(2), 4)[0] == pytest.approx(0.0)


def test_gini_counts_items_that_are_never_shown():
    lists = lists_of([[0], [0], [0]])
    assert metric("Gini@1").of_exposure(lists, np.arange(3), 100)[0] == pytest.approx(0.99)


def test_gini_of_nothing_is_not_a_number():
    value, error = metric("Gini@1").of_exposure(lists_of([[-1]]), np.zeros(1, dtype=int), 5)
    assert np.isnan(value) and np.isnan(error)


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    never=st.integers(0, 20),
)
def test_gini_equals_its_textbook_definition(counts, never):
    shown = [item for item, count in enumerate(counts) for _ in range(count)]
    lists = lists_of([[item] for item in shown])
    size = len(counts) + never
    value, _ = metric("Gini@1").of_exposure(lists, np.arange(len(shown)), size)
    assert value == pytest.approx(gini_of(counts, size))


def test_novelty_is_the_mean_information_of_the_shown_items():
    """Counts 2, 0, 1, 1 with add-one smoothing are shares 3/8, 1/8, 2/8, 2/8."""
    bits = surprise(np.array([2, 0, 1, 1], dtype=np.int32))
    assert bits[1:].tolist() == [3.0, 2.0, 2.0]
    lists = lists_of([[1, 2], [2, -1], [-1, -1]])
    assert metric("Novelty@2").of_lists(lists, bits).tolist() == [2.5, 2.0, 0.0]


def test_novelty_of_items_without_events_is_finite():
    assert np.isfinite(surprise(np.zeros(5, dtype=np.int32))).all()


@pytest.mark.parametrize("name", ["Coverage", "Gini"])
def test_the_jackknife_error_is_near_the_spread_over_fresh_users(name):
    """The error estimated within one sample against the true spread over 200 samples."""
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 301.0)
    shares /= shares.sum()

    def sample():
        items = rng.choice(300, size=(120, 1), p=shares).astype(np.int32)
        return metric(f"{name}@1").of_exposure(items, np.arange(120), 300)

    values, errors = np.array([sample() for _ in range(200)]).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.35)


def test_the_jackknife_treats_all_lists_of_a_user_as_one():
    """Ten equal lists of each user say no more than one."""
    rng = np.random.default_rng(5)
    one = rng.integers(0, 50, size=(40, 1)).astype(np.int32)
    for name in ("Coverage", "Gini"):
        chosen = metric(f"{name}@1")
        once = chosen.of_exposure(one, np.arange(40), 50)
        often = chosen.of_exposure(np.repeat(one, 10, axis=0), np.repeat(np.arange(40), 10), 50)
        assert often == pytest.approx(once)
