"""A cut keeps its promise as often as it says, and is no stricter than it has to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.risk import JudgedLists, cut_replacing, safe_cut


def lists(chances: list[float], bad: str, of: list[int], size: int) -> JudgedLists:
    is_bad = np.array([letter == "b" for letter in bad])
    return JudgedLists(np.array(chances, np.float32), is_bad, np.array(of, np.int32), size)


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
def test_the_order_of_lists_among_each_other_does_not_matter(rows, size, cut) -> None:
    chances, bad, of = (np.array(column) for column in zip(*rows, strict=True))
    judged = JudgedLists(chances.astype(np.float32), bad, of.astype(np.int32), size)
    mask = judged.shown(cut)
    for one in np.unique(of):
        own = np.flatnonzero(of == one)
        expected = [place for place in own if judged.chances[place] < cut][:size]
        assert np.flatnonzero(mask & (of == one)).tolist() == expected


def drawn(seed: int, count: int, size: int = 10, each: int = 30) -> JudgedLists:
    """Lists of pairs whose chances are exactly right; bad ones come in bunches."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.beta(1, 3, count), each)
    chances = np.clip(level * random.random(count * each) * 2, 0, 1)
    is_bad = random.random(count * each) < chances
    of = np.repeat(np.arange(count), each).astype(np.int32)
    return JudgedLists(chances.astype(np.float32), is_bad, of, size)


def test_the_promise_is_broken_no_more_often_than_it_says() -> None:
    truth, broken, found = drawn(10_000, 4_000), 0, 0
    for seed in range(60):
        cut = safe_cut(drawn(seed, 500), 0.05, 0.9)
        if cut is not None:
            found += 1
            broken += truth.effect(cut)["bad_after"] > 0.05
    assert found >= 57
    assert broken <= 6


def test_more_lists_allow_a_looser_cut() -> None:
    truth = drawn(10_000, 4_000)
    cuts = [safe_cut(drawn(7, count), 0.05) for count in (500, 3_000)]
    assert cuts[0] is not None
    assert cuts[1] is not None
    shares = [truth.effect(cut)["bad_after"] for cut in cuts if cut is not None]
    assert shares[0] < shares[1]
    assert shares[1] > 0.035


def test_nothing_need_be_taken_out_of_good_lists_and_no_filter_saves_bad_ones() -> None:
    one = drawn(0, 300)
    good = JudgedLists(one.chances, np.zeros_like(one.is_bad), one.lists, 10)
    assert safe_cut(good, 0.05) == np.inf
    bad = JudgedLists(one.chances, np.ones_like(one.is_bad), one.lists, 10)
    assert safe_cut(bad, 0.05) is None


@pytest.mark.parametrize("count", [1, 5])
def test_a_few_lists_prove_nothing(count: int) -> None:
    one = drawn(0, count)
    good = JudgedLists(one.chances, np.zeros_like(one.is_bad), one.lists, 10)
    assert safe_cut(good, 0.05) is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 4))
def test_no_more_than_a_share_is_replaced_and_a_smaller_cut_replaces_more(
    tenths: list[int], most: float, size: int
) -> None:
    count = len(tenths)
    of = (np.arange(count) // 7).astype(np.int32)
    chances = np.array(tenths, np.float32) / 10
    judged = JudgedLists(chances, np.zeros(count, np.bool_), of, size)
    cut = cut_replacing(judged, most)
    assert judged.effect(cut)["replaced"] <= most
    before = judged.shown(np.inf)
    for smaller in chances[before & (chances < cut)].tolist():
        assert judged.effect(smaller)["replaced"] > most
