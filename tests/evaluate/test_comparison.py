"""The word of a comparison comes from the numbers alone."""

import numpy as np
import pytest

from serendip.evaluate.comparison import (
    compare_systems,
    compare_values,
    decide_verdict,
    estimate_systems,
)
from serendip.evaluate.intervals import Estimate

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


def test_nobody_is_too_small_to_tell():
    assert decide_verdict(Estimate(None, None, None, 0), 0.0) == ("too small to tell", None)


def test_the_minimum_detectable_difference_is_2_8_standard_errors():
    _, detectable = decide_verdict(Estimate(0.0, -0.0196, 0.0196, 100), 0.2)
    assert detectable == pytest.approx(0.028, abs=1e-4)


def test_pairing_finds_what_two_separate_intervals_hide():
    rng = np.random.default_rng(0)
    old = rng.random(400)
    found = compare_values(NAMES, old + 0.02, old)
    assert found.verdict == "better"
    assert found.low <= found.difference <= found.high


def test_a_run_against_itself_never_wins():
    rng = np.random.default_rng(0)
    values = rng.random(400)
    found = compare_values(NAMES, values, values)
    assert found.difference == 0.0
    assert found.verdict == "no difference shown"
    assert found.low < 0 < found.high


def test_swapping_the_runs_swaps_the_word():
    rng = np.random.default_rng(0)
    old, new = rng.random(200), rng.random(200) + 0.3
    there, back = compare_values(NAMES, new, old), compare_values(NAMES, old, new)
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.difference == pytest.approx(-back.difference)


def test_equal_systems_are_called_different_in_at_most_one_of_twenty():
    rng = np.random.default_rng(2)
    called = 0
    for trial in range(400):
        old, new = ((rng.random(120) < 0.15) * rng.random(120) for _ in range(2))
        found = compare_values(NAMES, new, old, seed=trial, resamples=1_000)
        called += found.verdict in ("better", "worse")
    assert called / 400 <= 0.072  # .05 + 2 standard errors


def test_systems_are_compared_by_user():
    """User a gains at one of its two targets, user b at its only one."""
    values = {"new": np.array([[1.0], [0.0], [1.0]]), "old": np.zeros((3, 1))}
    groups, draws = np.array([0, 0, 1]), (0, 200)
    (found,) = compare_systems(values, ["Recall@10"], ("new", ["old"]), groups, draws)
    assert (found.difference, found.n, found.verdict) == (0.75, 2, "too small to tell")
    assert (found.system, found.baseline, found.metric) == ("new", "old", "Recall@10")
    assert compare_systems(values, ["Recall@10"], ("new", []), groups, draws) == []
    systems = estimate_systems(values, ["Recall@10"], groups, draws)
    assert {name: one["Recall@10"].value for name, one in systems.items()} == {
        "new": 0.75,
        "old": 0.0,
    }
