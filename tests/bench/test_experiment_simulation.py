import numpy as np
import pytest

from serendip.evaluate.sequential import (
    adjust,
    compare_arms,
    estimate_mean,
    half_width,
    sample_ratio_p,
)
from serendip_bench.scripts.experiments import choose_by_order, count_false, count_sessions


def test_looking_all_the_time_finds_nothing_where_nothing_is() -> None:
    rows = count_false(100, 2_000, seed=1)
    by_looks = {
        name: [row["false"] for row in rows if row["looks"] == name]
        for name in ("confidence sequence", "interval of one look")
    }
    assert max(by_looks["confidence sequence"]) <= 0.05
    assert min(by_looks["interval of one look"]) > 0.1  # the negative control


def test_interleaved_lists_need_a_fifth_of_the_sessions() -> None:
    found = np.array([count_sessions(choose_by_order, seed) for seed in range(5)])
    tested, interleaved = np.median(found, axis=0)
    assert tested >= 5 * interleaved


def test_the_interval_covers_the_difference_and_needs_enough_users() -> None:
    random = np.random.default_rng(0)
    control, treatment = random.poisson(1.0, 3_000), random.poisson(1.3, 3_000)
    found = compare_arms(control, treatment)
    assert 0 < found.low < 0.3 < found.high
    assert compare_arms(control, treatment, tests=5).low < found.low
    assert compare_arms(control[:99], treatment).low is None
    assert (estimate_mean(control[:99]).low, estimate_mean(np.empty(0)).value) == (None, None)
    # A single look at as many values as it is best for has an interval of 1.96 deviations.
    assert 1.4 * 1.96 / 100 < half_width(1.0, 10_000) < 1.8 * 1.96 / 100


def test_what_was_known_before_narrows_the_interval_and_moves_no_difference() -> None:
    random = np.random.default_rng(0)
    habit, arms = random.gamma(0.5, 4, 4_000), random.integers(0, 2, 4_000)
    values = random.poisson(habit + 0.5 * arms).astype(float)
    adjusted = adjust(values, random.poisson(habit * 4).astype(float))
    plain, narrow = (compare_arms(v[arms == 0], v[arms == 1]) for v in (values, adjusted))
    assert narrow.high - narrow.low < 0.7 * (plain.high - plain.low)
    assert narrow.low < 0.5 < narrow.high
    assert adjust(values, np.zeros(4_000)).tolist() == values.tolist()


def test_a_sample_ratio_that_chance_does_not_give_is_seen() -> None:
    assert sample_ratio_p([5_000, 5_050], [0.5, 0.5]) > 0.5
    assert sample_ratio_p([5_000, 5_500], [0.5, 0.5]) < 1e-5
    assert sample_ratio_p([900, 100], [0.45, 0.05]) == pytest.approx(1)
    assert sample_ratio_p([0, 0], [0.5, 0.5]) == 1
