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
def pair_features(queries: QueryTexts, items: ItemTexts) -> PairFeatures:
    return PairFeatures.fit(queries, items)


def all_pairs(queries: QueryTexts, items: ItemTexts) -> tuple[np.ndarray, np.ndarray]:
    rows, numbers = np.divmod(np.arange(len(queries.words) * len(items)), len(items))
    return rows.astype(np.int32), numbers.astype(np.int32)


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, PAIR_FEATURES.index(name)]


def test_similarities_are_cosines_of_centred_vectors_and_zero_without_a_text(
    queries, items, pair_features
) -> None:
    rows, numbers = all_pairs(queries, items)
    features = pair_features.compute(queries, items, rows, numbers)
    centred = queries.vectors - queries.vectors.mean(0)
    titles = items.views[0] - items.views[0].mean(0)
    cosines = (centred / np.linalg.norm(centred, axis=1, keepdims=True)) @ (
        titles / np.linalg.norm(titles, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(column(features, "title: similarity"), cosines.ravel(), atol=1e-5)
    relative = (cosines - cosines.mean(1, keepdims=True)) / cosines.std(1, keepdims=True)
    np.testing.assert_allclose(
        column(features, "title: for the query"), relative.ravel(), atol=1e-3
    )
    features = pair_features.compute(queries, items, np.array([0, 1]), np.array([3, 3]))
    assert not column(features, "body: similarity").any()
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("Knife sets without block", {"knife", "sets"}, {"block"}),
        ("not a lamp", set(), {"a", "lamp"}),
        ("red shoes", {"red", "shoes"}, set()),
        ("batteries not", {"batteries"}, set()),
    ],
)
def test_a_query_is_split_at_its_negation(text: str, before: set, after: set) -> None:
    (wanted,) = QueryTexts.of([text], np.ones((1, 4), np.float32)).wanted
    assert wanted == (before, after)


def test_wanted_and_unwanted_words_are_separate_features(items) -> None:
    two_queries = QueryTexts.of(
        ["shoes without red", "blue hat"], unit(np.random.default_rng(2), 2, 16)
    )
    pair_features = PairFeatures.fit(two_queries, items)
    features = pair_features.compute(two_queries, items, np.array([0, 0, 1]), np.array([0, 1, 3]))
    assert column(features, "negation").tolist() == [1, 1, 0]
    assert column(features, "wanted: in text")[:2].tolist() == [1, 1]
    np.testing.assert_allclose(column(features, "unwanted: in title"), [1, 0, 0], atol=1e-6)


def test_the_words_of_a_title_are_those_of_the_whole_text() -> None:
    """Joined with the next text, "61*" and "2001" would be one measure: 61 x 2001."""
    texts = [("61*", "2001", ["a film of baseball"]), ("2 x", "4 boards", [])]
    one, none = unit(np.random.default_rng(0), 2, 8), np.zeros((2, 8), np.float32)
    items = ItemTexts.of(texts, one, none, one[:1], np.array([0, 1, 1]))
    assert {"61", "2001", "baseball", "2", "4"} <= set(items.words.numbers)
