from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.evaluate.labelled_slates import (
    FOLDS,
    LabelErrors,
    LabelledSlates,
    helpful_threshold,
    replacement_threshold,
)


def build_slates(
    probabilities: list[float], labels: str, numbers: list[int], size: int
) -> LabelledSlates:
    """Slates with labels "i" (irrelevant) and "r" (relevant); each is a group of its own."""
    is_irrelevant = np.array([letter == "i" for letter in labels])
    slate = np.array(numbers, np.int32)
    return LabelledSlates(np.array(probabilities, np.float32), is_irrelevant, slate, slate, size)


def test_removed_items_are_replaced_by_the_surest_ones_behind() -> None:
    slates = build_slates([0.1, 0.9, 0.3, 0.2, 0.8, 0.7, 0.6], "rirrirr", [0, 0, 0, 0, 5, 5, 5], 2)
    assert slates.is_shown(np.inf).tolist() == [True, True, False, False, True, True, False]
    # Row 3 is surer than row 2, which is before it.
    assert slates.is_shown(0.75).tolist() == [True, False, False, True, False, True, True]
    assert slates.is_shown(0.0).tolist() == [False] * 7
    effect = slates.effect(0.75)
    assert (effect["irrelevant_before"], effect["irrelevant_after"]) == (0.5, 0.0)
    assert (effect["replaced"], effect["lost"], effect["kept"], effect["shown"]) == (0.5, 0, 2, 1)
    strict = slates.effect(0.25)
    assert (strict["replaced"], strict["lost"], strict["shown"]) == (0.75, 0.5, 0.5)
    assert strict["kept"] == 1.0


def test_what_a_filter_hides_is_judged_by_how_often_labels_are_wrong() -> None:
    """Of 20 relevant pairs 18 are called so, and of 80 irrelevant ones 8."""
    labels = "r" * 18 + "i" * 2 + "i" * 72 + "r" * 8
    slates = build_slates([0.1] * 20 + [0.9] * 80, labels, [0] * 100, 100)
    plain = slates.effect(0.5)
    assert (plain["wrong"], plain["lost"]) == (pytest.approx(0.1), pytest.approx(8 / 26))
    known = replace(slates, errors=LabelErrors(100, 10, 100, 10))
    found = known.effect(0.5)
    assert (found["wrong"], found["lost"]) == (pytest.approx(0.0), pytest.approx(0.0))
    assert known.effect(0.05)["lost"] == pytest.approx(1.0)
    assert found["fall"] == plain["fall"]  # by the labels
    assert known.sort_by(-slates.probabilities).errors == known.errors
    few, many = (
        replace(slates, errors=LabelErrors(count, count // 10, count, count // 10)).intervals(0.5)
        for count in (20, 2_000)
    )
    assert few["wrong"][1] > 2 * many["wrong"][1] > 0.0


def test_a_threshold_is_measured_where_it_was_not_chosen() -> None:
    slates, seen = draw(2, 100), []

    def choose(others: LabelledSlates) -> float | None:
        seen.append(set(others.slates.tolist()))
        return len(seen) / 10 if len(seen) < FOLDS else None

    thresholds = slates.cross_fit(choose)
    for number, others in enumerate(seen):
        held_out = ~np.isin(slates.slates, list(others))
        assert len(np.unique(slates.slates[held_out])) == 100 // FOLDS
        expected = (number + 1) / 10 if number < FOLDS - 1 else np.inf
        assert (thresholds[held_out] == expected).all()
    assert slates.effect(np.full(len(thresholds), 0.3)) == slates.effect(0.3)


def test_the_strictest_threshold_that_hides_hardly_a_relevant_pair() -> None:
    count = 200
    rows = np.arange(4 * count)
    probabilities = np.tile([0.1, 0.3, 0.6, 0.9], count)
    # Of every slate the last two are irrelevant, of one in ten the second, too.
    labels = "".join("rrii" if number % 10 else "riii" for number in range(count))
    slates = build_slates(probabilities.tolist(), labels, (rows // 4).tolist(), 4)
    found = helpful_threshold(slates, 0.05, 0.0)
    assert 0.3 < found <= 0.6
    assert slates.effect(found)["lost"] == 0.0
    # Or at most one hidden pair in two is relevant: all are hidden.
    loose = helpful_threshold(slates, 0.05, 0.55)
    assert loose is not None and loose < found
    assert slates.effect(loose)["wrong"] == pytest.approx(380 / 800)
    everything_good = build_slates(probabilities.tolist(), "r" * 800, (rows // 4).tolist(), 4)
    assert helpful_threshold(everything_good, 0.05, 0.2) is None


def draw(seed: int, count: int, size: int = 10, each: int = 30, group: int = 1) -> LabelledSlates:
    """Slates with exact probabilities; ``group`` slates share a share of irrelevant pairs."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.beta(1, 3, count // group), each * group)
    probabilities = np.clip(level * random.random(count * each) * 2, 0, 1)
    is_irrelevant = random.random(count * each) < probabilities
    numbers = np.repeat(np.arange(count), each).astype(np.int32)
    groups = (numbers // group).astype(np.int32)
    return LabelledSlates(probabilities.astype(np.float32), is_irrelevant, numbers, groups, size)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 4))
def test_the_replacement_threshold_is_the_smallest_within_its_share(
    tenths: list[int], max_replaced: float, size: int
) -> None:
    count = len(tenths)
    numbers = (np.arange(count) // 7).astype(np.int32)
    probabilities = np.array(tenths, np.float32) / 10
    slates = LabelledSlates(probabilities, np.zeros(count, np.bool_), numbers, numbers, size)
    threshold = replacement_threshold(slates, max_replaced)
    assert slates.effect(threshold)["replaced"] <= max_replaced
    before = slates.is_shown(np.inf)
    for smaller in probabilities[before & (probabilities < threshold)].tolist():
        assert slates.effect(smaller)["replaced"] > max_replaced
