"""Logistic regression recovers known weights, and a penalty shrinks them."""

from __future__ import annotations

import numpy as np

from serendip_bench.relevance_judges.cross_encoder import Logistic


def test_known_weights_are_recovered() -> None:
    random = np.random.default_rng(0)
    features = random.normal([3.0, -1.0, 0.0], [2.0, 0.5, 1.0], (40_000, 3)).astype(np.float32)
    odds = 1.0 * (features[:, 0] - 3) / 2 - 0.5 * (features[:, 1] + 1) / 0.5 - 0.7
    is_irrelevant = random.random(40_000) < 1 / (1 + np.exp(-odds))
    model = Logistic.fit(features, is_irrelevant, reg=1.0)
    np.testing.assert_allclose(model.weights, [1.0, -0.5, 0.0], atol=0.05)
    assert abs(model.offset + 0.7) < 0.05
    inside = np.abs((features - features.mean(0)) / features.std(0)).max(1) < 3.9
    np.testing.assert_allclose(model.values(features)[inside], odds[inside], atol=0.3)


def test_a_penalty_shrinks_weights_but_not_the_offset() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 2)).astype(np.float32)
    is_irrelevant = features[:, 0] > -1.0
    weak, strong = (Logistic.fit(features, is_irrelevant, reg) for reg in (1.0, 1e6))
    assert np.abs(strong.weights).max() < 1e-3 < np.abs(weak.weights).max()
    share = float(is_irrelevant.mean())
    assert abs(strong.offset - np.log(share / (1 - share))) < 1e-3


def test_equal_labels_and_constant_features_are_handled() -> None:
    features = np.ones((20, 2), np.float32)
    model = Logistic.fit(features, np.zeros(20, np.bool_), 1.0)
    assert np.isfinite(model.values(features)).all()
    assert model.values(features).max() < -3
