"""The student: its graph says what lightgbm says, and its probabilities are probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.evaluate.classification import BinaryPredictions, calibration_error, calibration_floor
from serendip.models.relevance.model import CalibratedTrees, PlattCalibration, fit_calibration
from serendip.models.relevance.train import TreesConfig, _as_graph, _grown, train_trees

SMALL = TreesConfig(rounds=40, learning_rate=0.1, leaves=8, fewest_pairs=20)


def world(seed: int, count: int = 3_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels with noise, and units of ten pairs."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 5)).astype(np.float32)
    chance = 1 / (1 + np.exp(-2 * (features[:, 0] * features[:, 1] + features[:, 2])))
    return features, random.random(count) < chance, np.arange(count, dtype=np.int32) // 10


@pytest.fixture(scope="module")
def student() -> CalibratedTrees:
    return train_trees(*world(0), SMALL, 3).student


def test_the_graph_says_what_lightgbm_says() -> None:
    features, is_bad, _ = world(0)
    trees = _grown(features, is_bad, SMALL, 0)
    session = CalibratedTrees.of(
        _as_graph(trees.dump_model(), 5), PlattCalibration(1.0, 0.0)
    ).session
    at_thresholds = np.array(
        [node["threshold"] for node in _splits(trees.dump_model())], np.float32
    )
    asked = np.concatenate([world(1)[0], np.resize(at_thresholds, (200, 5))])
    found = session.run(None, {"features": asked})[0][:, 0]
    np.testing.assert_allclose(found, trees.predict(asked, raw_score=True), rtol=0, atol=1e-4)


def _splits(dumped: dict) -> list[dict]:
    line = [tree["tree_structure"] for tree in dumped["tree_info"]]
    for node in line:
        line += [node[side] for side in ("left_child", "right_child") if side in node]
    return [node for node in line if "threshold" in node]


def test_it_finds_what_is_bad_and_its_chances_are_chances(student: CalibratedTrees) -> None:
    features, is_bad, units = world(1)
    probabilities = student.probabilities(features)
    assert (
        BinaryPredictions(is_bad, probabilities, probabilities > 0.5, units).values()["auroc"] > 0.8
    )
    assert calibration_error(is_bad, probabilities) < 3 * calibration_floor(probabilities)


def test_values_that_are_too_sure_become_chances() -> None:
    random = np.random.default_rng(0)
    logit = random.normal(size=20_000)
    is_bad = random.random(20_000) < 1 / (1 + np.exp(-logit))
    curve = fit_calibration(3 * logit + 1, is_bad)
    assert curve.slope == pytest.approx(1 / 3, abs=0.02)
    assert curve.offset == pytest.approx(-1 / 3, abs=0.04)


def test_what_it_says_of_a_pair_hangs_on_nothing_else(student: CalibratedTrees) -> None:
    features = world(2)[0][:50]
    together = student.probabilities(features)
    alone = np.concatenate([student.probabilities(row[None]) for row in features])
    assert together.tolist() == alone.tolist()
    assert student.probabilities(features[:0]).shape == (0,)


def test_the_same_seed_teaches_the_same(student: CalibratedTrees) -> None:
    again = train_trees(*world(0), SMALL, 3).student
    assert (again.model, again.curve) == (student.model, student.curve)


def test_the_threshold_can_be_chosen_by_pairs_that_the_trees_had_not_seen() -> None:
    features, is_bad, units = world(0)
    taught = train_trees(features, is_bad, units, SMALL, 3)
    assert 0.15 < taught.held.mean() < 0.25
    assert not set(units[taught.held]) & set(units[~taught.held])
    assert len(taught.probabilities) == taught.held.sum()
    assert calibration_error(is_bad[taught.held], taught.probabilities) < 0.1


def test_few_pairs_of_one_kind_can_be_learned_from() -> None:
    features = np.zeros((12, 2), np.float32)
    nothing_bad, units = np.zeros(12, np.bool_), np.arange(12, dtype=np.int32)
    student = train_trees(features, nothing_bad, units, SMALL, 0).student
    assert (student.probabilities(features) < 0.5).all()
