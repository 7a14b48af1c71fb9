"""Means over users and the honesty of their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.intervals import (
    bootstrap_ci,
    bootstrap_means,
    estimate,
    estimates,
    normal_ci,
    per_user,
)


def test_a_user_with_many_targets_weighs_as_much_as_one_with_one():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    users = per_user(values, np.array([0, 0, 0, 1]))
    assert users.tolist() == [[1.0], [0.0]]
    assert estimate(users[:, 0]).value == 0.5


def test_users_that_no_system_answered_stay_in_the_denominator():
    """Half of the users lost their answer: the mean halves."""
    full = estimate(np.array([1.0, 1.0, 1.0, 1.0]))
    half = estimate(np.array([1.0, 1.0, 0.0, 0.0]))
    assert (half.value, half.n) == (full.value / 2, full.n)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_order_of_targets_changes_no_user_mean(rows):
    groups = np.unique([user for user, _ in rows], return_inverse=True)[1]
    values = np.array([[value] for _, value in rows])
    order = np.random.default_rng(0).permutation(len(rows))
    assert np.allclose(per_user(values, groups), per_user(values[order], groups[order]))


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random((50, 2))
    assert np.array_equal(bootstrap_ci(values, 3), bootstrap_ci(values, 3))
    assert not np.array_equal(bootstrap_ci(values, 3), bootstrap_ci(values, 4))


def test_draws_are_shared_by_all_columns():
    values = np.random.default_rng(0).random((40, 1))
    means = bootstrap_means(np.hstack([values, values + 0.25]), seed=1, resamples=100)
    assert np.allclose(means[:, 1] - means[:, 0], 0.25)


def test_chunks_of_draws_do_not_change_the_number_of_resamples():
    values = np.random.default_rng(0).random((30_000, 1))
    assert bootstrap_means(values, seed=0, resamples=150).shape == (150, 1)


def test_bootstrap_and_normal_intervals_agree_on_many_users():
    values = np.random.default_rng(0).random((5_000, 1))
    boot, normal = bootstrap_ci(values, 0), normal_ci(values)
    assert np.allclose(boot, normal, atol=0.1 * float(normal[1][0] - normal[0][0]))


def test_above_50000_users_the_interval_is_normal():
    values = np.random.default_rng(0).random((50_001, 1))
    assert np.array_equal(bootstrap_ci(values, 0), normal_ci(values))


def test_nobody_gives_no_value():
    found = estimate(np.empty(0))
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 0)


def test_all_zero_values_still_have_an_upper_bound():
    found = estimate(np.zeros(20))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert estimate(np.zeros(2_000)).high < 0.002


def test_all_perfect_values_still_have_a_lower_bound():
    found = estimate(np.ones(20))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 20))


def test_one_user_says_almost_nothing():
    found = estimate(np.array([1.0]))
    assert found.low < 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_value_lies_within_its_interval_and_the_interval_within_the_range(values):
    found = estimates(np.array(values)[:, None], resamples=200)[0]
    assert -1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9


@pytest.mark.parametrize(("users", "share"), [(60, 0.15), (150, 0.1), (600, 0.05)])
def test_intervals_cover_the_truth_of_zero_inflated_values(users, share):
    """500 samples of users most of whom have 0: about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(11)
    covered = 0
    for trial in range(500):
        values = (rng.random((users, 1)) < share) * rng.random((users, 1))
        low, high = bootstrap_ci(values, seed=trial, resamples=500)
        covered += int(low[0] <= share / 2 <= high[0])
    assert 0.93 <= covered / 500 <= 0.975
