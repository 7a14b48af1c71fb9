from __future__ import annotations

import numpy as np
import pytest

from serendip.data.dataset import Dataset
from serendip.data.items.features import ItemFeatures
from serendip.data.query import History, Query
from serendip.errors import DataError
from serendip.models.content_similarity import ContentSimilarity, ContentSimilarityConfig
from serendip.testing import (
    LocalChangeContract,
    RecommenderContract,
    VotesContract,
    build_small_world,
)


class TestContentSimilarity(VotesContract, LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> ContentSimilarity:
        return ContentSimilarity()


def four_items() -> Dataset:
    content = np.asarray([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], dtype=np.float32)
    features = ItemFeatures(content, np.zeros((4, 1), np.int32), 1)
    return build_small_world(num_items=4, num_events=0).with_features(features)


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


def test_votes_are_the_cosines_to_each_item_of_the_context() -> None:
    model = ContentSimilarity().train(four_items())
    history = History.of_items(np.asarray([0, 1, 3], dtype=np.int32))
    items, votes = model.votes(Query(history=history), np.asarray([2, 0], dtype=np.int32))
    assert items.tolist() == [0, 1, 3]
    np.testing.assert_allclose(votes, [[0.6, 1.0], [0.8, 0.0], [0.0, 0.0]], rtol=1e-6)


def test_a_changed_item_is_like_what_its_new_text_is_like() -> None:
    new = ItemFeatures(np.asarray([[1, 0]], np.float32), np.zeros((1, 1), np.int32), 1)
    model = ContentSimilarity().train(four_items())
    changed = model.with_changed_items(np.asarray([1], np.int32), new)
    query = Query(source_items=np.asarray([1], dtype=np.int32))
    np.testing.assert_allclose(changed.score_all([query])[0], [1, 1, 0.6, 0], rtol=1e-6)


def test_of_an_item_changed_twice_at_once_the_last_text_counts() -> None:
    vectors = np.asarray([[1, 0], [0, 1]], np.float32)
    new = ItemFeatures(vectors, np.zeros((2, 1), np.int32), 1)
    changed = ContentSimilarity().train(four_items())
    changed = changed.with_changed_items(np.asarray([3, 3], np.int32), new)
    query = Query(source_items=np.asarray([3], dtype=np.int32))
    np.testing.assert_allclose(changed.score_all([query])[0], [0, 1, 0.8, 1], rtol=1e-6)


def test_a_dataset_without_content_is_refused() -> None:
    world = build_small_world()
    bare = Dataset(world.catalogue, world.users, world.events)
    with pytest.raises(DataError, match="with_features"):
        ContentSimilarity().train(bare)
