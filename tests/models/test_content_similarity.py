from pathlib import Path

import numpy as np
import pytest

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures, TokenReader
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


FOUR = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], np.float32)
MEAN = FOUR.sum(0) / 103  # Of three items with content, beside a hundred of nothing.


def cosines(content: FloatArray = FOUR) -> FloatArray:
    """Of each two items, without the mean of the four."""
    centred = np.where(content.any(1, keepdims=True), content - MEAN, 0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return unit @ unit.T


def four_items() -> Dataset:
    features = ItemFeatures(FOUR, np.zeros((4, 1), np.int32), 1)
    return build_small_world(num_items=4, num_events=0).with_features(features)


def test_scores_are_weighted_means_of_the_votes_and_need_content() -> None:
    model = ContentSimilarity(ContentSimilarityConfig(decay=0.5)).train(four_items())
    history = History.of_items(np.asarray([0, 1], dtype=np.int32))
    expected = (cosines()[0] + 2 * cosines()[1]) / 3
    np.testing.assert_allclose(expected, [0.3, 0.7, 0.7, 0.0], atol=0.05)
    scores = model.score_all([Query(history=history)])[0]
    np.testing.assert_allclose(scores, expected, atol=1e-5)

    model = ContentSimilarity().train(four_items())
    history = History.of_items(np.asarray([0, 1, 3], dtype=np.int32))
    items, votes = model.votes(Query(history=history), np.asarray([2, 0], dtype=np.int32))
    assert items.tolist() == [0, 1, 3]
    np.testing.assert_allclose(votes, cosines()[[0, 1, 3]][:, [2, 0]], atol=1e-5)

    world = build_small_world()
    bare = Dataset(world.catalogue, world.users, world.events)
    with pytest.raises(DataError, match="with_features"):
        ContentSimilarity().train(bare)


READER = TokenReader(("title", "director", "genre"))
FILMS = [
    Item("0", "Red planet", attributes={"director": "Ann Lee", "genre": ("Drama", "Space")}),
    Item("1", "Blue night", attributes={"director": "Ann Lee", "genre": ("Crime",)}),
    Item("2", "Green hill", attributes={"director": "Bo Ray", "genre": ("Drama",)}),
    Item("3", "Red planet two", attributes={"director": "Bo Ray", "genre": ("Crime",)}),
    Item("4", "Old song", attributes={"director": "Cy Fox", "genre": ("Drama", "Space")}),
]


def features_of(items: list[Item], vectors: FloatArray | None = None) -> ItemFeatures:
    """Items without a content vector, unless there are ``vectors``."""
    content = np.zeros((len(items), 2), np.float32) if vectors is None else vectors
    codes = np.zeros((len(items), 1), np.int32)
    return ItemFeatures(content, codes, 1, tokens=READER.read(items))


def films(items: list[Item], vectors: FloatArray | None = None) -> Dataset:
    world = build_small_world(num_items=len(items), num_events=0)
    return Dataset(Catalogue(items), world.users, world.events, features_of(items, vectors))


def likeness(model: ContentSimilarity, item: int) -> FloatArray:
    return model.score_all([Query(source_items=np.array([item], np.int32))])[0]


def test_words_values_and_vectors_add_up() -> None:
    model = ContentSimilarity().train(films(FILMS))
    of_first = likeness(model, 0)
    assert of_first[1] > 0, "a director in common"
    assert of_first[3] > 0, "words of the title in common"
    assert of_first[4] > of_first[2] > 0, "two genres in common, and one"
    vectors = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 0]], np.float32)
    both = likeness(ContentSimilarity().train(films(FILMS, vectors)), 0)
    assert both[4] > of_first[4]
    assert both[1] < of_first[1]


def test_the_floor_is_above_random_pairs_and_items_about_which_little_is_known() -> None:
    bare = Item("5", "", attributes={"genre": ("Drama", "Space")})
    model = ContentSimilarity().train(films([*FILMS, bare]))
    of_first = likeness(model, 0)
    assert of_first[5] <= of_first[4], "what it lacks is not in common"
    assert likeness(model, 5)[4] > of_first[4], "what the source lacks does not count"

    count, random = 400, np.random.default_rng(5)
    model = ContentSimilarity().train(large(count))
    first = random.integers(0, count, 300)
    others = (first + random.integers(1, count, 300)) % count
    scores = [likeness(model, a)[b] for a, b in zip(first.tolist(), others.tolist(), strict=True)]
    assert 0.9 < np.mean(np.array(scores) <= model.floor) < 0.99


def large(count: int, seed: int = 1) -> Dataset:
    """Items of 40 directors and 9 genres, with vectors around 40 centres."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, 40, count)
    centres = random.normal(size=(40, 8))
    vectors = centres[groups] + 0.8 * random.normal(size=(count, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    items = [
        Item(f"i{n}", f"story {n % 97}", attributes={"director": f"d{group}", "genre": f"g{n % 9}"})
        for n, group in enumerate(groups.tolist())
    ]
    return films(items, unit)


def nearest(model: ContentSimilarity, item: int, k: int = 10) -> IntArray:
    scores = likeness(model, item).copy()
    scores[item] = -1
    return np.argsort(-scores, kind="stable")[:k].astype(np.int32)


@pytest.fixture(scope="module")
def model() -> ContentSimilarity:
    """Of more items than are all scored for every request."""
    return ContentSimilarity().train(large(1_500))


def propose(model: ContentSimilarity, item: int, shown: AllowedItems | None = None) -> list[int]:
    source = np.array([item], np.int32)
    allowed = (shown or AllowedItems.all(model.num_items)).without(source)
    (found,) = model.query_scores([Query("similar", source_items=source)]).top(10, [allowed])
    expected = likeness(model, item)[found.item_nums]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-4)
    return found.item_nums.tolist()


def test_the_nearest_are_proposed_and_of_a_small_set_all_compared(model: ContentSimilarity) -> None:
    hits = [len(set(propose(model, item)) & set(nearest(model, item))) for item in range(0, 99, 9)]
    assert np.mean(hits) >= 9.5
    history = History.of_items(np.array([3, 700, 41], np.int32))
    scores = model.query_scores([Query(history=history)])
    few = np.array([0, 5, 1_499], np.int32)
    expected = model.score_all([Query(history=history)])[0][few]
    np.testing.assert_allclose(scores.of_items(np.zeros(3, np.int32), few), expected, rtol=1e-3)
    shown = AllowedItems(ItemSet(np.arange(1_500) % 60 == 0))
    best = [item for item in nearest(model, 7, 1_500).tolist() if item % 60 == 0][:10]
    assert set(propose(model, 7, shown)) == set(best)


def test_a_posted_item_is_like_others_at_once_and_they_are_like_it(
    model: ContentSimilarity, tmp_path: Path
) -> None:
    known = large(1_500).features
    assert known is not None and known.tokens is not None
    newer = model.with_late(known.rows(np.array([30, 31], np.int32)))
    assert propose(newer, 1_500)[0] == 30
    assert propose(newer, 30)[0] == 1_500
    changed = newer.with_late(known.rows(np.array([77])), np.array([1_200], np.int32))
    assert propose(changed, 77)[0] == 1_200
    model.save(tmp_path / "content")
    assert ContentSimilarity.open(tmp_path / "content").floor == model.floor
