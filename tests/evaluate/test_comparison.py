import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.comparison import (
    compare_systems,
    compare_values,
    decide_verdict,
    estimate_systems,
)
from serendip.evaluate.decision import Decision, choose, read_table, write_decisions
from serendip.evaluate.intervals import (
    Estimate,
    bootstrap_ci,
    bootstrap_means,
    estimate,
    estimates,
    normal_ci,
    per_user,
)

NAMES = ("new", "old", "nDCG@10")


@pytest.mark.parametrize(
    ("found", "n", "verdict"),
    [
        ((0.02, 0.01, 0.03), 1_000, "better"),
        ((-0.02, -0.03, -0.01), 1_000, "worse"),
        # A real difference below one percent of the baseline is not called better or worse.
        ((0.001, 0.0005, 0.0015), 1_000, "no difference shown"),
        ((-0.001, -0.0015, -0.0005), 1_000, "no difference shown"),
        ((0.001, -0.002, 0.004), 1_000, "no difference shown"),  # a narrow interval around 0
        ((0.01, -0.03, 0.05), 1_000, "too small to tell"),  # a wide one
        ((0.1, 0.05, 0.15), 49, "too small to tell"),  # few users, whatever the interval
        ((0.1, 0.05, 0.15), 50, "better"),
    ],
)
def test_the_verdict_follows_from_the_interval(found, n, verdict):
    assert decide_verdict(Estimate(*found, n), 0.2)[0] == verdict


def test_pairing_finds_what_two_separate_intervals_hide():
    rng = np.random.default_rng(0)
    old = rng.random(400)
    found = compare_values(NAMES, old + 0.02, old)
    assert found.verdict == "better"
    assert found.low <= found.difference <= found.high


def test_systems_are_compared_by_user():
    """User a gains at one of its two targets, user b at its only one; a NaN counts nowhere."""
    values = {"new": np.array([[1.0], [0.0], [1.0], [np.nan]]), "old": np.zeros((4, 1))}
    groups = np.array([0, 0, 1, 1])
    users = {name: per_user(of_system, groups) for name, of_system in values.items()}
    (found,) = compare_systems(users, ["Recall@10"], ("new", ["old"]), 0)
    assert (found.difference, found.n, found.verdict) == (0.75, 2, "too small to tell")
    assert (found.system, found.baseline, found.metric) == ("new", "old", "Recall@10")
    assert compare_systems(users, ["Recall@10"], ("new", []), 0) == []
    systems = estimate_systems(users, ["Recall@10"], 0)
    assert {name: one["Recall@10"].value for name, one in systems.items()} == {
        "new": 0.75,
        "old": 0.0,
    }


BEFORE = np.array([0.5 + 0.01 * (number % 5) for number in range(60)])
NOISE = np.array([0.1, -0.1] * 30)


def test_it_is_on_where_the_interval_of_the_gain_is_above_0() -> None:
    better, equal = (choose("x", BEFORE, BEFORE + gain + NOISE) for gain in (0.05, 0.01))
    assert (better.on, equal.on, better.n, better.without) == (True, False, 60, pytest.approx(0.52))
    assert better.gain == pytest.approx(0.05)
    # Student's t with 59 degrees: 2.0010 * .1008 / sqrt(60)
    assert better.high - better.low == pytest.approx(2 * 0.02605, abs=1e-4)


def test_pairs_of_users_are_compared_and_a_table_is_read_back() -> None:
    users = [f"u{number % 3}" for number in range(60)]
    found = choose("x", BEFORE, BEFORE + 0.05, users, fewest=4)
    assert (found.on, found.gain, found.n) == (False, None, 3)
    assert "4 users or queries are needed" in found.reason

    made = [Decision.gate("finite", True, "all"), choose("x", BEFORE, BEFORE + 0.05 + NOISE)]
    rows = [{**row, "of_tomorrow": 1} for row in write_decisions(made)]
    assert list(read_table({"gates": rows[:1], "models": rows[1:]})) == made
    assert made[0].must and not made[1].must


def test_draws_are_those_of_the_seed_and_of_many_users_none():
    values = np.random.default_rng(0).random((50, 2))
    assert np.array_equal(bootstrap_ci(values, 3), bootstrap_ci(values, 3))
    assert not np.array_equal(bootstrap_ci(values, 3), bootstrap_ci(values, 4))
    means = bootstrap_means(np.hstack([values, values + 0.25]), seed=1, resamples=100)
    assert np.allclose(means[:, 2:] - means[:, :2], 0.25)
    many = np.random.default_rng(0).random((30_000, 1))  # drawn in chunks
    assert bootstrap_means(many, seed=0, resamples=150).shape == (150, 1)
    values = np.random.default_rng(0).random((50_001, 1))
    assert np.array_equal(bootstrap_ci(values, 0), normal_ci(values))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.zeros(20), 0.0, 1 - 0.025 ** (1 / 20)),
        (np.ones(20), 0.025 ** (1 / 20), 1.0),
        (np.zeros(2_000), 0.0, 1 - 0.025 ** (1 / 2_000)),
        (np.ones(1), 0.025, 1.0),  # one user says almost nothing
    ],
)
def test_equal_values_still_have_an_interval(values, low, high):
    found = estimate(values)
    assert found.value == values[0]
    assert (found.low, found.high) == pytest.approx((low, high))


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
