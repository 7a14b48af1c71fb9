"""Logistic regression finds what labels were drawn by, and stays near 0 where that costs."""

from __future__ import annotations

import numpy as np

from serendip_bench.relevance_judges.cross_encoder import Logistic


def test_weights_that_labels_were_drawn_by_are_found() -> None:
    random = np.random.default_rng(0)
    features = random.normal([3.0, -1.0, 0.0], [2.0, 0.5, 1.0], (40_000, 3)).astype(np.float32)
    odds = 1.0 * (features[:, 0] - 3) / 2 - 0.5 * (features[:, 1] + 1) / 0.5 - 0.7
    is_bad = random.random(40_000) < 1 / (1 + np.exp(-odds))
    found = Logistic.fit(features, is_bad, reg=1.0)
    np.testing.assert_allclose(found.weights, [1.0, -0.5, 0.0], atol=0.05)
    assert abs(found.offset + 0.7) < 0.05
    inside = np.abs((features - features.mean(0)) / features.std(0)).max(1) < 3.9
    np.testing.assert_allclose(found.values(features)[inside], odds[inside], atol=0.3)


def test_a_price_keeps_weights_small_and_the_offset_free() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 2)).astype(np.float32)
    is_bad = features[:, 0] > -1.0
    free, dear = (Logistic.fit(features, is_bad, reg) for reg in (1.0, 1e6))
    assert np.abs(dear.weights).max() < 1e-3 < np.abs(free.weights).max()
    share = float(is_bad.mean())
    assert abs(dear.offset - np.log(share / (1 - share))) < 1e-3


def test_labels_of_one_kind_and_features_that_never_change_are_no_trouble() -> None:
    features = np.ones((20, 2), np.float32)
    found = Logistic.fit(features, np.zeros(20, np.bool_), 1.0)
    assert np.isfinite(found.values(features)).all()
    assert found.values(features).max() < -3
