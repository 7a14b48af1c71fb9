"""What is chosen, and what must hold."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.evaluate.decision import Decision, choose, read_table, write_decisions

BEFORE = np.array([0.5 + 0.01 * (number % 5) for number in range(60)])
NOISE = np.array([0.1, -0.1] * 30)


def test_it_is_on_where_the_interval_of_the_gain_is_above_0() -> None:
    better, equal = (choose("x", BEFORE, BEFORE + gain + NOISE) for gain in (0.05, 0.01))
    assert (better.on, equal.on, better.n, better.without) == (True, False, 60, pytest.approx(0.52))
    assert better.gain == pytest.approx(0.05)
    assert better.low is not None and better.high is not None
    # Student's t with 59 degrees: 2.0010 * .1008 / sqrt(60)
    assert better.high - better.low == pytest.approx(2 * 0.02605, abs=1e-4)


def test_intervals_of_more_tests_are_wider() -> None:
    one, ten = (choose("x", BEFORE, BEFORE + 0.03 + NOISE, tests=tests) for tests in (1, 10))
    assert (one.on, ten.on) == (True, False)


def test_the_user_is_the_sampling_unit() -> None:
    users = [f"u{number % 3}" for number in range(60)]
    found = choose("x", BEFORE, BEFORE + 0.05, users, fewest=4)
    assert (found.on, found.gain, found.n) == (False, None, 3)
    assert "4 users or queries are needed" in found.reason


def test_a_table_is_read_back_and_later_keys_are_ignored() -> None:
    made = [Decision.gate("finite", True, "all"), choose("x", BEFORE, BEFORE + 0.05 + NOISE)]
    rows = [{**row, "of_tomorrow": 1} for row in write_decisions(made)]
    assert list(read_table({"gates": rows[:1], "models": rows[1:]})) == made
    assert made[0].must and not made[1].must
