"""Features of a query and an item: exact where they are simple, the same for one pair and many."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.models.relevance.features import PAIR_FEATURES, ItemTexts, PairFeatures, QueryTexts

TITLES = ["red shoes", "blue shoes", "garden hose", "green hat"]
QUERIES = ["red shoes", "a long garden hose", "nothing known"]


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def queries() -> QueryTexts:
    return QueryTexts.of(QUERIES, unit(np.random.default_rng(0), 3, 16))


@pytest.fixture(scope="module")
def items() -> ItemTexts:
    """The last item has no body, the first one no passages, the second one five."""
    random = np.random.default_rng(1)
    texts = [
        (title, "made for people", ["a"] * count)
        for title, count in zip(TITLES, (0, 5, 2, 1), strict=True)
    ]
    bodies = unit(random, 4, 16)
    bodies[3] = 0
    starts = np.array([0, 0, 5, 7, 8])
    return ItemTexts.of(texts, unit(random, 4, 16), bodies, unit(random, 8, 16), starts)


@pytest.fixture(scope="module")
def crowd(queries: QueryTexts, items: ItemTexts) -> PairFeatures:
    return PairFeatures.fit(queries, items)


def every(queries: QueryTexts, items: ItemTexts) -> tuple[np.ndarray, np.ndarray]:
    rows, numbers = np.divmod(np.arange(len(queries.words) * len(items)), len(items))
    return rows.astype(np.int32), numbers.astype(np.int32)


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, PAIR_FEATURES.index(name)]


def test_words_and_letters_in_common(queries, items, crowd) -> None:
    features = crowd.of(queries, items, np.array([0, 0, 1, 2]), np.array([0, 1, 2, 0]))
    rare, common = np.log(4 / 1), np.log(4 / 2)
    # "a" is a word of three items' passages, so it is known and not rare; "long" is a word of none.
    long_query = 2 * rare + np.log(4 / 3) + np.log(5)
    expected = [1, common / (rare + common), 2 * rare / long_query, 0]
    found = column(features, "words: in title")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(column(features, "words: of both"), [1, 1 / 3, 2 / 4, 0], rtol=1e-6)
    assert column(features, "letters of title")[0] == 1
    np.testing.assert_allclose(
        column(features, "words: rarest"), [rare, common, rare, 0], rtol=1e-6
    )
    assert column(features, "words of the query").tolist() == [2, 2, 4, 2]


def test_likenesses_are_cosines_of_what_is_left_without_the_means(queries, items, crowd) -> None:
    rows, numbers = every(queries, items)
    features = crowd.of(queries, items, rows, numbers)
    own = queries.vectors - queries.vectors.mean(0)
    titles = items.views[0] - items.views[0].mean(0)
    cosines = (own / np.linalg.norm(own, axis=1, keepdims=True)) @ (
        titles / np.linalg.norm(titles, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(column(features, "title: likeness"), cosines.ravel(), atol=1e-5)
    relative = (cosines - cosines.mean(1, keepdims=True)) / cosines.std(1, keepdims=True)
    np.testing.assert_allclose(
        column(features, "title: for the query"), relative.ravel(), atol=1e-3
    )
    both = relative - relative.mean(0)
    np.testing.assert_allclose(column(features, "title: for both"), both.ravel(), atol=1e-3)


def test_a_text_that_is_missing_is_like_nothing(queries, items, crowd) -> None:
    features = crowd.of(queries, items, np.array([0, 1]), np.array([3, 3]))
    assert not column(features, "body: likeness").any()
    assert np.isfinite(features).all()


def test_the_best_passages_are_the_three_nearest(queries, items, crowd) -> None:
    features = crowd.of(queries, items, np.array([0, 0, 0]), np.array([0, 1, 3]))
    own = queries.vectors[0] - queries.vectors.mean(0)
    likeness = items.passages @ (items.directions.T @ own / np.linalg.norm(own))
    expected = [0, np.sort(likeness[:5])[-3:].mean(), likeness[7]]
    np.testing.assert_allclose(column(features, "best passages"), expected, atol=1e-5)


def test_one_pair_alone_has_the_features_that_it_has_among_others(queries, items, crowd) -> None:
    rows, numbers = every(queries, items)
    together = crowd.of(queries, items, rows, numbers)
    for place in range(len(rows)):
        alone = crowd.of(queries, items, rows[place : place + 1], numbers[place : place + 1])
        np.testing.assert_allclose(alone[0], together[place], rtol=0, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = crowd.of(queries, items, rows[order], numbers[order])
    np.testing.assert_allclose(mixed, together[order], rtol=0, atol=1e-5)


def test_what_is_like_the_nearest_items_is_near(queries) -> None:
    """Two clusters: the query names one item of the first, and its neighbours are meant, too."""
    axes = np.eye(16, dtype=np.float32)
    titles = np.stack([axes[0], axes[0] + axes[1], axes[0] + axes[2], axes[5], axes[5] + axes[6]])
    titles /= np.linalg.norm(titles, axis=1, keepdims=True)
    texts = [(f"item {number}", "", []) for number in range(5)]
    items = ItemTexts.of(texts, titles, titles * 0, titles[:0], np.zeros(6, np.int64))
    asked = QueryTexts.of(["x", "y"], np.stack([axes[0] + 0.2 * axes[1], axes[5]]))
    crowd = PairFeatures.fit(asked, items)
    features = crowd.of(asked, items, np.zeros(5, np.int32), np.arange(5, dtype=np.int32))
    near = column(features, "title: near 3")
    assert near[:3].min() > near[3:].max()


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("Knife sets without block", {"knife", "sets"}, {"block"}),
        ("not a lamp", set(), {"a", "lamp"}),
        ("red shoes", {"red", "shoes"}, set()),
        ("batteries not", {"batteries"}, set()),
    ],
)
def test_a_query_says_what_it_does_not_want(text: str, before: set, after: set) -> None:
    (found,) = QueryTexts.of([text], np.ones((1, 4), np.float32)).wanted
    assert found == (before, after)


def test_what_is_wanted_and_what_is_not_are_told_apart(items) -> None:
    asked = QueryTexts.of(["shoes without red", "blue hat"], unit(np.random.default_rng(2), 2, 16))
    crowd = PairFeatures.fit(asked, items)
    features = crowd.of(asked, items, np.array([0, 0, 1]), np.array([0, 1, 3]))
    assert column(features, "says without").tolist() == [1, 1, 0]
    assert column(features, "wanted: in text")[:2].tolist() == [1, 1]
    np.testing.assert_allclose(column(features, "unwanted: in title"), [1, 0, 0], atol=1e-6)
