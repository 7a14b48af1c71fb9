import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pytest

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.items.features import ItemFeatures
from serendip.data.query import History, Query
from serendip.data.rows.row_array import dot_items, dot_rows, put_rows
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarityConfig
from serendip.models.context import compute_contexts
from serendip.models.query_scores import PriorOrder, PriorScores, QueryScores, VectorScores
from serendip.models.vector_index import EXACT_UP_TO, VectorIndex, draw_contexts
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world, draw_features

NUM_ITEMS = 3_000


class MeanVector(Recommender):
    """A model of vectors: the score of an item is its product with the mean of the context."""

    name, config_class, score_kind = "mean", ContentSimilarityConfig, "similarity"
    zero_means_unknown = False
    config: ContentSimilarityConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        assert dataset.features is not None
        self._vectors, self._index = dataset.features.content, self._build(dataset)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return dot_rows(self.encode_queries(queries), self._vectors)

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores:
        means = self.encode_queries(queries)

        def score(row: int, numbers: IntArray) -> FloatArray:
            return dot_items(self._vectors, numbers, means[row])

        def score_all() -> FloatArray:
            return dot_rows(means, self._vectors)

        return VectorScores(self._index, means, score, self._num_items, score_all)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        means = np.zeros((len(contexts), self._vectors.shape[1]), np.float32)
        for row, (items, weights) in enumerate(contexts):
            if len(items):
                means[row] = (weights / weights.sum()) @ self._vectors[items]
        return means

    def _build(self, dataset: Dataset) -> VectorIndex:
        vectors = dataset.features.content if dataset.features else np.empty((0, 0), np.float32)
        contexts = draw_contexts(vectors.__getitem__, len(vectors))
        means = np.array([vectors[context].mean(0) for context in contexts])
        return VectorIndex.build(vectors.__getitem__, len(vectors), means)

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._vectors = put_rows(self._vectors, item_nums, features.content)
        model._index = self._index.with_late(item_nums, features.content)
        return model


def clustered(count: int, seed: int) -> FloatArray:
    """Unit vectors of 16 dimensions around 40 centres."""
    centres = np.random.default_rng(0).normal(size=(40, 16))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 40, count)] + 0.5 * rng.normal(size=(count, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def features(count: int, seed: int) -> ItemFeatures:
    return replace(draw_features(seed, count), content=clustered(count, seed))


@pytest.fixture(scope="module")
def world() -> Dataset:
    return build_small_world(NUM_ITEMS, 20, 400).with_features(features(NUM_ITEMS, 1))


@pytest.fixture(scope="module")
def model(world: Dataset) -> Recommender:
    assert NUM_ITEMS > EXACT_UP_TO
    return MeanVector().train(world)


def items(*numbers: int) -> IntArray:
    return np.array(numbers, np.int32)


def queries() -> list[Query]:
    rng = np.random.default_rng(4)
    seen = [rng.integers(0, NUM_ITEMS, size).astype(np.int32) for size in (1, 2, 5, 9, 600)]
    histories = [Query(history=History.of_items(numbers)) for numbers in seen]
    return [*histories, Query("similar", source_items=items(7)), Query()]


def recall(model: Recommender, allowed: list[AllowedItems], k: int) -> float:
    hits, wanted = 0, 0
    asked = queries()
    scores = model.score_all(asked)
    for row, may, found in zip(
        scores, allowed, model.query_scores(asked).top(k, allowed), strict=True
    ):
        if row.any():
            best = np.argsort(-np.where(may.mask(), row, -np.inf), kind="stable")
            best = best[: min(k, may.count)]
            assert len(found) == len(best)
            hits += len(set(best.tolist()) & set(found.item_nums.tolist()))
            wanted += len(best)
        assert may.admits(found.item_nums).all()
        np.testing.assert_allclose(found.scores, row[found.item_nums], rtol=1e-5, atol=1e-6)
        assert (np.diff(found.scores) <= 0).all()
    return hits / wanted if wanted else 1.0


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("share", [1.0, 0.6, 0.2, 0.01, 0.0])
def test_k_of_k_allowed_items_are_proposed(model: Recommender, share: float, k: int) -> None:
    assert isinstance(model.query_scores(queries()), VectorScores)
    shared = ItemSet(np.random.default_rng(5).random(NUM_ITEMS) < share)
    few = [AllowedItems(shared).without(query.history.item_nums) for query in queries()]
    assert recall(model, few, k) >= 0.99


def test_new_and_changed_items_are_found_at_once(model: Recommender) -> None:
    newer = model.with_late(features(3, 9)).with_late(features(2, 10), items(5, 2_000))
    newer = newer.with_late(features(2, 11))
    everything = [AllowedItems.all(newer.num_items)] * len(queries())
    assert recall(newer, everything, 50) >= 0.99
    for number in (5, 2_000, NUM_ITEMS, NUM_ITEMS + 4):
        (found,) = newer.query_scores([Query(source_items=items(number))]).top(1, everything[:1])
        assert found.item_nums.tolist() == [number]


def test_many_queries_at_once_find_what_each_finds_alone(model: Recommender) -> None:
    newer = model.with_late(features(300, 9)).with_late(features(2, 10), items(5, 2_000))
    asked = queries() * 3
    shown = AllowedItems(ItemSet(np.arange(newer.num_items) % 5 > 0))
    allowed = [
        AllowedItems.all(newer.num_items).without(query.history.item_nums) if row % 2 else shown
        for row, query in enumerate(asked)
    ]
    together = newer.query_scores(asked)
    lists = together.top(30, allowed)
    for row, query in enumerate(asked):
        alone = newer.query_scores([query])
        (found,) = alone.top(30, allowed[row : row + 1])
        assert lists[row].item_nums.tolist() == found.item_nums.tolist()
        np.testing.assert_allclose(lists[row].scores, found.scores, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(together.best()[row], alone.best()[0], rtol=1e-5, atol=1e-6)
        rows, some = np.zeros(4, np.int32), items(5, 9, NUM_ITEMS, NUM_ITEMS + 299)
        expected = alone.of_items(rows, some)
        of_row = together.of_items(rows + row, some)
        np.testing.assert_allclose(of_row, expected, rtol=1e-5, atol=1e-6)


def test_a_prior_is_walked_in_its_order() -> None:
    values = np.random.default_rng(0).permutation(400).astype(np.float32)
    order = PriorOrder(values[:300])
    for share in (1.0, 0.5, 0.02):
        shared = ItemSet(np.random.default_rng(1).random(300) < share)
        allowed = AllowedItems(shared).without(shared.numbers[::3])
        (found,) = PriorScores(order, 1).top(7, [allowed])
        usable = np.flatnonzero(allowed.mask())
        assert found.item_nums.tolist() == usable[np.argsort(-values[usable])][:7].tolist()
    assert (
        PriorScores(PriorOrder(np.ones(5, np.float32)), 1)
        .top(2, [AllowedItems.all(5)])[0]
        .item_nums.tolist()
        == []
    )


def test_a_prior_is_sorted_again_when_many_scores_are_late() -> None:
    order = PriorOrder(np.array([0.0, 3.0, 0.0], np.float32))
    first = order.order
    assert order.put(items(3, 4), np.zeros(2, np.float32)).order is first
    many = order.put(np.arange(3, 5_003, dtype=np.int32), np.zeros(5_000, np.float32))
    assert len(many.order) == 5_003
    assert many.put(items(5_003), np.ones(1, np.float32)).first(2, None).tolist() == [1, 5_003]
    same = PriorOrder(np.ones(2, np.float32))
    assert not same.tells_apart
    assert same.put(items(2), np.zeros(1, np.float32)).tells_apart
