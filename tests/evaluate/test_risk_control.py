"""A threshold keeps its promise as often as it says, and is no stricter than it has to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.risk_control import (
    LabelledSlates,
    _is_kept,
    safe_threshold,
    threshold_replacing,
)


def lists(probabilities: list[float], bad: str, of: list[int], size: int) -> LabelledSlates:
    is_bad = np.array([letter == "b" for letter in bad])
    own = np.array(of, np.int32)
    return LabelledSlates(np.array(probabilities, np.float32), is_bad, own, own, size)


def test_what_is_taken_out_is_replaced_by_the_next_ones() -> None:
    judged = lists([0.1, 0.9, 0.2, 0.3, 0.8, 0.7, 0.6], "gbggbgb", [0, 0, 0, 0, 5, 5, 5], 2)
    assert judged.shown(np.inf).tolist() == [True, True, False, False, True, True, False]
    assert judged.shown(0.75).tolist() == [True, False, True, False, False, True, True]
    assert judged.shown(0.0).tolist() == [False] * 7
    effect = judged.effect(0.75)
    assert (effect["bad_before"], effect["bad_after"]) == (0.5, 0.25)
    assert (effect["replaced"], effect["lost"], effect["shown"]) == (0.5, 0.0, 1.0)
    strict = judged.effect(0.25)
    assert (strict["replaced"], strict["lost"], strict["shown"]) == (0.75, 0.5, 0.5)


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans(), st.integers(0, 3)), min_size=1),
    st.integers(1, 5),
    st.floats(0, 1.1),
)
def test_the_order_of_lists_among_each_other_does_not_matter(rows, size, threshold) -> None:
    probabilities, bad, of = (np.array(column) for column in zip(*rows, strict=True))
    own = of.astype(np.int32)
    judged = LabelledSlates(probabilities.astype(np.float32), bad, own, own, size)
    mask = judged.shown(threshold)
    for one in np.unique(of):
        own = np.flatnonzero(of == one)
        expected = [place for place in own if judged.probabilities[place] < threshold][:size]
        assert np.flatnonzero(mask & (of == one)).tolist() == expected


def drawn(seed: int, count: int, size: int = 10, each: int = 30, unit: int = 1) -> LabelledSlates:
    """Lists of pairs whose probabilities are right; ``unit`` lists have one share of bad ones."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.beta(1, 3, count // unit), each * unit)
    probabilities = np.clip(level * random.random(count * each) * 2, 0, 1)
    is_bad = random.random(count * each) < probabilities
    of = np.repeat(np.arange(count), each).astype(np.int32)
    units = (of // unit).astype(np.int32)
    return LabelledSlates(probabilities.astype(np.float32), is_bad, of, units, size)


@pytest.mark.parametrize("delta", [0.1, 0.3])
def test_at_the_edge_of_the_promise_a_test_fails_as_often_as_it_says(delta: float) -> None:
    """One list in twenty wholly bad: the share is what is allowed, and is to be called too high."""
    random = np.random.default_rng(0)
    allowed, size, draws = 0.05, 10, 1_500
    bad = random.random((draws, 400)) < allowed
    excess = np.where(bad, size * (1 - allowed), -allowed * size)
    kept = [_is_kept(one, size, allowed, delta) for one in excess]
    assert np.mean(kept) <= delta + 3 * np.sqrt(delta * (1 - delta) / draws)
    better = np.where(random.random((200, 400)) < 0.01, size * (1 - allowed), -allowed * size)
    assert np.mean([_is_kept(one, size, allowed, delta) for one in better]) > 0.9


def test_lists_of_one_unit_count_as_one() -> None:
    """Fifty units of twenty equal lists prove no more than fifty lists."""
    one = LabelledSlates(
        np.full(50, 0.2, np.float32),
        np.zeros(50, np.bool_),
        np.arange(50, dtype=np.int32),
        np.arange(50, dtype=np.int32),
        1,
    )
    many = LabelledSlates(
        np.repeat(one.probabilities, 20),
        np.repeat(one.is_bad, 20),
        np.arange(1_000, dtype=np.int32),
        np.repeat(one.units, 20),
        1,
    )
    assert safe_threshold(one, 0.05) is None
    assert safe_threshold(many, 0.05) is None
    apart = LabelledSlates(many.probabilities, many.is_bad, many.lists, many.lists, 1)
    assert safe_threshold(apart, 0.05) == np.inf


def test_a_chain_ends_at_its_first_failure() -> None:
    """Pairs of .3 are all bad and those of .6 all good: only a threshold below .3 is safe, though
    the loosest one would be again."""
    count = 4_000
    random = np.random.default_rng(0)
    of = np.repeat(np.arange(count), 4).astype(np.int32)
    probabilities = np.tile([0.01, 0.3, 0.6, 0.6], count).astype(np.float32)
    is_bad = np.tile([False, True, False, False], count)
    rare = np.repeat(random.random(count) < 0.12, 4)
    keep = ~is_bad | rare
    judged = LabelledSlates(probabilities[keep], is_bad[keep], of[keep], of[keep], 4)
    assert judged.effect(0.31)["bad_after"] > 0.05
    assert judged.effect(np.inf)["bad_after"] < 0.05
    threshold = safe_threshold(judged, 0.05)
    assert threshold is not None
    assert threshold <= 0.3


def test_more_lists_allow_a_looser_threshold() -> None:
    truth = drawn(10_000, 4_000)
    thresholds = [safe_threshold(drawn(7, count), 0.05) for count in (500, 3_000)]
    assert thresholds[0] is not None
    assert thresholds[1] is not None
    shares = [
        truth.effect(threshold)["bad_after"] for threshold in thresholds if threshold is not None
    ]
    assert shares[0] < shares[1] <= 0.05
    assert shares[1] > 0.035


def test_nothing_need_be_taken_out_of_good_lists_and_no_filter_saves_bad_ones() -> None:
    one = drawn(0, 300)
    good = LabelledSlates(one.probabilities, np.zeros_like(one.is_bad), one.lists, one.units, 10)
    assert safe_threshold(good, 0.05) == np.inf
    bad = LabelledSlates(one.probabilities, np.ones_like(one.is_bad), one.lists, one.units, 10)
    assert safe_threshold(bad, 0.05) is None


@pytest.mark.parametrize("count", [1, 5])
def test_a_few_lists_prove_nothing(count: int) -> None:
    one = drawn(0, count)
    good = LabelledSlates(one.probabilities, np.zeros_like(one.is_bad), one.lists, one.units, 10)
    assert safe_threshold(good, 0.05) is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 4))
def test_no_more_than_a_share_is_replaced_and_a_smaller_threshold_replaces_more(
    tenths: list[int], most: float, size: int
) -> None:
    count = len(tenths)
    of = (np.arange(count) // 7).astype(np.int32)
    probabilities = np.array(tenths, np.float32) / 10
    judged = LabelledSlates(probabilities, np.zeros(count, np.bool_), of, of, size)
    threshold = threshold_replacing(judged, most)
    assert judged.effect(threshold)["replaced"] <= most
    before = judged.shown(np.inf)
    for smaller in probabilities[before & (probabilities < threshold)].tolist():
        assert judged.effect(smaller)["replaced"] > most


def test_nobody_can_replace_bad_ones_by_more_good_ones_than_there_are() -> None:
    judged = lists([0.0] * 7, "bbgbgbg", [0, 0, 0, 0, 5, 5, 5], 2)
    assert judged.effect(np.inf)["bad_before"] == 0.75
    assert judged.best_after(1.0) == 0.25  # One good one is left for each list.
    assert judged.best_after(0.25) == 0.5
    assert judged.best_after(0.0) == 0.75


def test_intervals_hold_what_they_are_of_and_narrow_with_units() -> None:
    wide, narrow = (drawn(1, count) for count in (50, 2_000))
    for judged in (wide, narrow):
        effect, ends = judged.effect(0.3), judged.ends(0.3)
        assert all(low < effect[name] < high for name, (low, high) in ends.items())
    for name, (low, high) in narrow.ends(0.3).items():
        assert high - low < np.diff(wide.ends(0.3)[name])[0] / 4
    assert wide.effect(0.3)["fall"] > 0.2
