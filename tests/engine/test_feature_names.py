from __future__ import annotations

import numpy as np

from serendip.engine.feature_names import (
    context_feature_names,
    context_parts,
    features_without_interactions,
    part_of,
)
from serendip.models.context_counts import ITEM_COUNTRIES, ContextCounts, FieldCounts


def test_an_item_without_interactions_has_no_counts_and_the_mean_quality() -> None:
    names = ("item-knn", "item-knn relative", "retriever", "log popularity", "quality", "bm25")
    expected = np.array([0, 0, np.nan, 0, 0.25, np.nan], np.float32)
    np.testing.assert_array_equal(features_without_interactions(names, 0.25), expected)


def test_features_of_the_context_name_their_part_and_their_field() -> None:
    counts = FieldCounts.none(3)
    fields = {"user plan": counts, "hour": counts, "user a/b": counts}
    names = context_feature_names(ContextCounts(fields=fields, parts=frozenset({ITEM_COUNTRIES})))
    assert names == ("hour fit", "item of the country", "user a/b fit", "user plan fit")
    assert context_parts(("transitions", *names)) == {*fields, ITEM_COUNTRIES}
    parts = [part_of(name) for name in ("transitions", *names)]
    assert parts == ["", "hour", "country", "user", "user"]
