from __future__ import annotations

import numpy as np

from serendip.engine.feature_names import features_without_interactions


def test_an_item_without_interactions_has_no_counts_and_the_mean_quality() -> None:
    names = ("item-knn", "item-knn relative", "retriever", "log popularity", "quality", "bm25")
    expected = np.array([0, 0, np.nan, 0, 0.25, np.nan], np.float32)
    np.testing.assert_array_equal(features_without_interactions(names, 0.25), expected)
