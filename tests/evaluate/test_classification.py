"""Telling bad pairs from good ones: exact small examples, and counting as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.evaluate.classification import (
    BinaryPredictions,
    best_threshold,
    calibration_error,
    calibration_floor,
)


def verdicts(
    bad: str, scores: list[float], threshold: float, units: list[int] | None = None
) -> BinaryPredictions:
    values = np.array(scores, np.float32)
    is_bad = np.array([one == "b" for one in bad])
    drawn = np.arange(len(bad)) if units is None else np.array(units)
    return BinaryPredictions(is_bad, values, values >= threshold, drawn.astype(np.int32))


def test_small_examples_by_hand() -> None:
    found = verdicts("bgbg", [4, 3, 2, 1], threshold=3).values()
    assert found["auroc"] == 0.75
    assert found["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["precision"], found["recall"], found["kappa"]) == (0.5, 0.5, 0.0)


def test_equal_scores_tell_nothing() -> None:
    found = verdicts("bgbgg", [1, 1, 1, 1, 1], threshold=2).values()
    assert found["auroc"] == 0.5
    assert found["pr_auc"] == pytest.approx(0.4)
    assert (found["precision"], found["recall"], found["kappa"]) == (0, 0, 0)


def test_one_kind_alone_has_no_curve() -> None:
    assert verdicts("ggg", [1, 2, 3], threshold=2).values()["auroc"] == 0


def test_values_are_those_of_counting_pairs_one_by_one() -> None:
    random = np.random.default_rng(0)
    is_bad = random.random(300) < 0.2
    scores = np.round(random.normal(size=300) + is_bad, 1).astype(np.float32)
    decided = scores > 0.8
    found = BinaryPredictions(is_bad, scores, decided, np.arange(300, dtype=np.int32)).values()
    bad, good = scores[is_bad], scores[~is_bad]
    won = (bad[:, None] > good).sum() + (bad[:, None] == good).sum() / 2
    assert found["auroc"] == pytest.approx(won / (len(bad) * len(good)))
    precisions = [is_bad[scores >= one].mean() for one in bad]
    assert found["pr_auc"] == pytest.approx(np.mean(precisions))
    assert found["precision"] == pytest.approx(is_bad[decided].mean())
    assert found["recall"] == pytest.approx(decided[is_bad].mean())
    agreed = (decided == is_bad).mean()
    chance = is_bad.mean() * decided.mean() + (1 - is_bad.mean()) * (1 - decided.mean())
    assert found["kappa"] == pytest.approx((agreed - chance) / (1 - chance))


def test_intervals_hold_the_value_and_draw_whole_units() -> None:
    random = np.random.default_rng(1)
    units = np.repeat(np.arange(20), 25)
    is_bad = np.repeat(random.random(20) < 0.5, 25)
    scores = is_bad + np.repeat(random.normal(size=20), 25)
    together = BinaryPredictions(
        is_bad, scores.astype(np.float32), scores > 0.5, units.astype(np.int32)
    )
    apart = BinaryPredictions(
        is_bad, together.scores, together.decided, np.arange(500, dtype=np.int32)
    ).estimates()
    for label, one in together.estimates().items():
        assert one.low is not None and one.high is not None and one.value is not None
        assert one.low <= one.value <= one.high
        assert one.n == 20
        narrow = apart[label]
        assert narrow.low is not None and narrow.high is not None
        assert one.high - one.low > 2 * (narrow.high - narrow.low)


def test_intervals_are_the_same_every_time() -> None:
    one = verdicts(
        "bgbgbbgg", [8, 7, 6, 5, 4, 3, 2, 1], threshold=4, units=[0, 0, 1, 1, 2, 2, 3, 3]
    )
    assert one.estimates() == one.estimates()


def test_calibration_of_chances_that_are_right_is_that_of_chance() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random(3_000).astype(np.float32)
    right = random.random(3_000) < probabilities
    assert calibration_error(right, probabilities) < 2 * calibration_floor(probabilities)
    assert calibration_error(right, probabilities / 2) > 5 * calibration_floor(probabilities / 2)
    assert calibration_error(np.array([True, False]), np.array([1.0, 0.0], np.float32)) == 0


def test_draws_without_a_bad_pair_say_nothing_of_a_perfect_judge() -> None:
    units = np.repeat(np.arange(20), 5)
    is_bad = units == 3
    perfect = BinaryPredictions(is_bad, is_bad.astype(np.float32), is_bad, units.astype(np.int32))
    for one in perfect.estimates().values():
        assert (one.low, one.value, one.high) == (1, 1, 1)


@pytest.mark.parametrize(
    ("bad", "scores"), [("gggg", [1, 2, 3, 4]), ("bggg", [1, 1, 1, 1]), ("bbgg", [1, 2, 3, 4])]
)
def test_who_knows_nothing_filters_nothing(bad: str, scores: list[float]) -> None:
    is_bad, values = np.array([one == "b" for one in bad]), np.array(scores, np.float32)
    assert not (values >= np.float32(best_threshold(is_bad, values))).any()


def test_the_best_threshold_parts_what_can_be_parted() -> None:
    is_bad = np.array([False, False, True, True, True])
    scores = np.array([0.1, 0.2, 0.6, 0.7, 0.9], np.float32)
    decided = scores >= best_threshold(is_bad, scores)
    assert decided.tolist() == is_bad.tolist()
