import numpy as np
import pytest

from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor
from serendip.models.relevance.model import CalibratedTrees, PlattCalibration, fit_calibration
from serendip.models.relevance.train import _fit_trees, _to_onnx, train_trees


def world(seed: int, count: int = 3_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, noisy labels, and groups of ten pairs."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 5)).astype(np.float32)
    probability = 1 / (1 + np.exp(-2 * (features[:, 0] * features[:, 1] + features[:, 2])))
    return features, random.random(count) < probability, np.arange(count, dtype=np.int32) // 10


@pytest.fixture(scope="module")
def trees() -> CalibratedTrees:
    return train_trees(*world(0), 3)[0]


def test_the_graph_predicts_as_lightgbm_does() -> None:
    features, is_irrelevant, _ = world(0)
    trees = _fit_trees(features, is_irrelevant, (8, 40), 0)
    session = CalibratedTrees.of(
        _to_onnx(trees.dump_model(), 5), PlattCalibration(1.0, 0.0)
    ).session
    at_thresholds = np.array(
        [node["threshold"] for node in _splits(trees.dump_model())], np.float32
    )
    inputs = np.concatenate([world(1)[0], np.resize(at_thresholds, (200, 5))])
    scores = session.run(None, {"features": inputs})[0][:, 0]
    np.testing.assert_allclose(scores, trees.predict(inputs, raw_score=True), rtol=0, atol=1e-4)


def _splits(dumped: dict) -> list[dict]:
    nodes = [tree["tree_structure"] for tree in dumped["tree_info"]]
    for node in nodes:
        nodes += [node[side] for side in ("left_child", "right_child") if side in node]
    return [node for node in nodes if "threshold" in node]


def test_irrelevant_pairs_are_found_and_probabilities_are_calibrated(
    trees: CalibratedTrees,
) -> None:
    features, is_irrelevant, groups = world(1)
    probabilities = trees.probabilities(features)
    assert (
        BinaryPredictions(is_irrelevant, probabilities, probabilities > 0.5, groups).values()[
            "auroc"
        ]
        > 0.8
    )
    assert calibration_error(is_irrelevant, probabilities) < 3 * calibration_floor(probabilities)


def test_overconfident_scores_become_probabilities() -> None:
    random = np.random.default_rng(0)
    logit = random.normal(size=20_000)
    is_irrelevant = random.random(20_000) < 1 / (1 + np.exp(-logit))
    calibration = fit_calibration(3 * logit + 1, is_irrelevant)
    assert calibration.slope == pytest.approx(1 / 3, abs=0.02)
    assert calibration.offset == pytest.approx(-1 / 3, abs=0.04)


def test_held_out_pairs_share_no_group_with_training_pairs() -> None:
    features, is_irrelevant, groups = world(0)
    _, is_held_out, probabilities = train_trees(features, is_irrelevant, groups, 3)
    assert 0.15 < is_held_out.mean() < 0.25
    assert not set(groups[is_held_out]) & set(groups[~is_held_out])
    assert len(probabilities) == is_held_out.sum()
    assert calibration_error(is_irrelevant[is_held_out], probabilities) < 0.1


def test_of_few_groups_every_one_is_held_out_in_turn() -> None:
    features, is_irrelevant, _ = world(0, 600)
    groups = np.arange(600, dtype=np.int32) // 10
    trees, is_held_out, probabilities = train_trees(features, is_irrelevant, groups, 3)
    assert is_held_out.all() and len(probabilities) == 600
    # Trees that had seen the pairs would tell them apart better than these do.
    seen = trees.probabilities(features)
    held_out, fitted = (
        BinaryPredictions(is_irrelevant, scores, scores > 0.5, groups).values()["auroc"]
        for scores in (probabilities, seen)
    )
    assert fitted > held_out + 0.05 and held_out > 0.75
    typical = np.arange(600) % 2 == 0
    _, half, some = train_trees(features, is_irrelevant, groups, 3, typical)
    assert np.array_equal(half, typical) and len(some) == 300
