from __future__ import annotations

import numpy as np
import pytest
from contract import EvidenceContract, RecommenderContract, small_world

from serendip.data.dataset import Dataset, ItemFeatures
from serendip.data.query import History, Query
from serendip.errors import DataError
from serendip.models.content_similarity import ContentSimilarity, ContentSimilarityConfig


class TestContentSimilarity(EvidenceContract, RecommenderContract):
    @classmethod
    def make(cls) -> ContentSimilarity:
        return ContentSimilarity()


def four_items() -> Dataset:
    content = np.asarray([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], dtype=np.float32)
    features = ItemFeatures(content, np.zeros((4, 1), np.int32), 1)
    return small_world(num_items=4, num_events=0).with_features(features)


def test_the_score_is_the_weighted_mean_of_cosines() -> None:
    model = ContentSimilarity(ContentSimilarityConfig(decay=0.5)).train(four_items())
    history = History.of_items(np.asarray([0, 1], dtype=np.int32))
    expected = [1 / 3, 2 / 3, (0.6 + 2 * 0.8) / 3, 0.0]
    np.testing.assert_allclose(model.score_all([Query(history=history)])[0], expected, rtol=1e-6)


def test_source_items_replace_the_history() -> None:
    model = ContentSimilarity().train(four_items())
    history = History.of_items(np.asarray([1], dtype=np.int32))
    query = Query(history=history, source_items=np.asarray([0], dtype=np.int32))
    np.testing.assert_allclose(model.score_all([query])[0], [1, 0, 0.6, 0], rtol=1e-6)


def test_evidence_is_the_cosine_to_each_item_of_the_context() -> None:
    model = ContentSimilarity().train(four_items())
    history = History.of_items(np.asarray([0, 1, 3], dtype=np.int32))
    found = model.evidence(Query(history=history), 2, 2)
    assert [number for number, _ in found] == [1, 0]
    assert [cosine for _, cosine in found] == pytest.approx([0.8, 0.6])


def test_a_dataset_without_content_is_refused() -> None:
    world = small_world()
    bare = Dataset(world.catalogue, world.users, world.events)
    with pytest.raises(DataError, match="with_features"):
        ContentSimilarity().train(bare)
