import numpy as np
import pytest

from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor


def build_predictions(
    labels: str, scores: list[float], threshold: float, groups: list[int] | None = None
) -> BinaryPredictions:
    """Predictions for labels "i" (irrelevant) and "r" (relevant)."""
    values = np.array(scores, np.float32)
    is_irrelevant = np.array([letter == "i" for letter in labels])
    numbers = np.arange(len(labels)) if groups is None else np.array(groups)
    return BinaryPredictions(is_irrelevant, values, values >= threshold, numbers.astype(np.int32))


def test_labels_of_one_kind_have_no_curve() -> None:
    assert build_predictions("rrr", [1, 2, 3], threshold=2).values()["auroc"] == 0


def test_values_are_those_of_counting_pairs_one_by_one() -> None:
    random = np.random.default_rng(0)
    is_irrelevant = random.random(300) < 0.2
    scores = np.round(random.normal(size=300) + is_irrelevant, 1).astype(np.float32)
    is_filtered = scores > 0.8
    metrics = BinaryPredictions(
        is_irrelevant, scores, is_filtered, np.arange(300, dtype=np.int32)
    ).values()
    positive, negative = scores[is_irrelevant], scores[~is_irrelevant]
    wins = (positive[:, None] > negative).sum() + (positive[:, None] == negative).sum() / 2
    assert metrics["auroc"] == pytest.approx(wins / (len(positive) * len(negative)))
    precisions = [is_irrelevant[scores >= score].mean() for score in positive]
    assert metrics["pr_auc"] == pytest.approx(np.mean(precisions))
    assert metrics["precision"] == pytest.approx(is_irrelevant[is_filtered].mean())
    assert metrics["recall"] == pytest.approx(is_filtered[is_irrelevant].mean())
    agreement = (is_filtered == is_irrelevant).mean()
    by_chance = is_irrelevant.mean() * is_filtered.mean() + (1 - is_irrelevant.mean()) * (
        1 - is_filtered.mean()
    )
    assert metrics["kappa"] == pytest.approx((agreement - by_chance) / (1 - by_chance))


def test_intervals_contain_the_value_and_resample_groups() -> None:
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 25)
    is_irrelevant = np.repeat(random.random(20) < 0.5, 25)
    scores = is_irrelevant + np.repeat(random.normal(size=20), 25)
    grouped = BinaryPredictions(
        is_irrelevant, scores.astype(np.float32), scores > 0.5, groups.astype(np.int32)
    )
    ungrouped = BinaryPredictions(
        is_irrelevant, grouped.scores, grouped.is_filtered, np.arange(500, dtype=np.int32)
    ).estimates()
    for name, wide in grouped.estimates().items():
        assert wide.low <= wide.value <= wide.high
        assert wide.n == 20
        narrow = ungrouped[name]
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_exact_probabilities_have_the_calibration_error_of_the_floor() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random(3_000).astype(np.float32)
    labels = random.random(3_000) < probabilities
    assert calibration_error(labels, probabilities) < 2 * calibration_floor(probabilities)
    assert calibration_error(labels, probabilities / 2) > 5 * calibration_floor(probabilities / 2)
    assert calibration_error(np.array([True, False]), np.array([1.0, 0.0], np.float32)) == 0


def test_draws_without_an_irrelevant_pair_are_left_out() -> None:
    groups = np.repeat(np.arange(20), 5)
    is_irrelevant = groups == 3
    perfect = BinaryPredictions(
        is_irrelevant, is_irrelevant.astype(np.float32), is_irrelevant, groups.astype(np.int32)
    )
    for estimate in perfect.estimates().values():
        assert (estimate.low, estimate.value, estimate.high) == (1, 1, 1)
