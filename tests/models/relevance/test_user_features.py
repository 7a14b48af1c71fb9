from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.numeric import unit
from serendip.evaluate.classification import BinaryPredictions
from serendip.models.relevance.features import (
    USER_FEATURES,
    ItemTexts,
    PairFeatures,
    QueryTexts,
    RequestUser,
    UserFeatures,
)
from serendip.models.relevance.model import RelevanceModel
from serendip.models.relevance.train import (
    LabelledPairs,
    TrainedRelevanceModel,
    train_relevance_model,
)

ITEMS, QUERIES, SIZE, LENGTH = 90, 120, 24, 15
GENRES, COUNTRIES = ("horror", "comedy", "western"), ("KR", "DE")


@dataclass(frozen=True)
class World:
    """Items with a genre and a country, texts that say neither, and users with a past."""

    catalogue: Catalogue
    items: ItemTexts
    queries: QueryTexts
    users: list[RequestUser]
    rows: np.ndarray
    numbers: np.ndarray
    genre_of: np.ndarray
    country_of: np.ndarray

    @classmethod
    def draw(cls, seed: int = 0) -> World:
        random = np.random.default_rng(seed)
        genre_of, country_of = random.integers(0, 3, ITEMS), random.integers(0, 2, ITEMS)
        catalogue = Catalogue(
            Item(
                f"i{number}",
                f"tale {number}",
                attributes={"genre": GENRES[genre], "country": COUNTRIES[country]},
            )
            for number, (genre, country) in enumerate(zip(genre_of, country_of, strict=True))
        )
        vectors = unit(random.normal(size=(ITEMS, SIZE)).astype(np.float32))
        texts = [(f"tale {number}", "", []) for number in range(ITEMS)]
        empty = np.zeros((0, SIZE), np.float32)
        items = ItemTexts.of(
            texts, vectors, np.zeros_like(vectors), empty, np.zeros(ITEMS + 1, np.int64)
        )
        words = [f"something nice {number}" for number in range(QUERIES)]
        queries = QueryTexts.of(words, unit(random.normal(size=(QUERIES, SIZE))).astype(np.float32))
        users = []
        for query in range(QUERIES):
            mine = np.flatnonzero(genre_of == query % 3)
            past = random.choice(mine, 5, replace=False).tolist()
            past.append(int(random.integers(ITEMS)))  # the newest item tells nothing
            country = COUNTRIES[query % 2]
            users.append(RequestUser(np.array(past, np.int32), {"country": country, "plan": "x"}))
        rows = np.repeat(np.arange(QUERIES), LENGTH).astype(np.int32)
        numbers = random.integers(0, ITEMS, len(rows)).astype(np.int32)
        return cls(catalogue, items, queries, users, rows, numbers, genre_of, country_of)

    def train(self, is_irrelevant: np.ndarray) -> tuple[TrainedRelevanceModel, tuple[float, float]]:
        """A model by two thirds of the queries, and AUROC with and without users on the others."""
        features = PairFeatures.fit(self.queries, self.items)
        is_train = self.rows < 80
        columns = features.compute(
            self.queries, self.items, self.rows[is_train], self.numbers[is_train]
        )
        count = int(is_train.sum())
        examples = LabelledPairs(
            self.rows[is_train],
            self.numbers[is_train],
            is_irrelevant[is_train],
            self.rows[is_train],
            np.ones(count, np.bool_),
            columns,
        )
        users = UserFeatures.of(features.views, self.catalogue), self.users
        texts = self.queries, self.items
        trained, plain = (
            train_relevance_model(features, texts, examples, 0, known) for known in (users, None)
        )
        found = []
        for model in (trained.model, plain.model):
            scores = self.predict(model, ~is_train)
            pairs = is_irrelevant[~is_train], scores, scores > 0.5, self.rows[~is_train]
            value = BinaryPredictions(*pairs).estimates()["auroc"].value
            assert value is not None
            found.append(value)
        return trained, (found[0], found[1])

    def predict(self, model: RelevanceModel, mask: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(self.rows), np.float32)
        for row in np.unique(self.rows[mask]).tolist():
            part = self.rows == row
            scores[part] = model.probabilities(
                f"something nice {row}",
                self.queries.vectors[row],
                self.numbers[part],
                self.users[row],
            )
        return scores[mask]


@pytest.fixture(scope="module")
def world() -> World:
    return World.draw()


def test_where_the_past_decides_the_filter_with_the_user_beats_the_one_without(
    world: World,
) -> None:
    is_irrelevant = world.genre_of[world.numbers] != world.rows % 3
    trained, (with_user, without) = world.train(is_irrelevant)
    assert with_user > 0.95 > 0.65 > without
    model = trained.model
    assert model.learned.names[-len(USER_FEATURES) :] == USER_FEATURES
    opened = model.learned.apply(model.items, world.catalogue)
    mask = world.rows >= 100
    np.testing.assert_allclose(
        world.predict(opened, mask), world.predict(model, mask), rtol=0, atol=1e-6
    )


def test_features_compare_an_item_with_the_past() -> None:
    kinds = [("a", "KR"), ("a", "DE"), ("b", "KR"), ("b", "DE")]
    catalogue = Catalogue(
        Item(f"i{n}", attributes={"genre": genre, "country": country})
        for n, (genre, country) in enumerate(kinds)
    )
    views = np.stack([np.eye(4, dtype=np.float32)])
    features = UserFeatures.of(views, catalogue)
    user = RequestUser(np.array([0, 9, 1], np.int32), {"country": "kr", "plan": "x"})
    found = features.compute(user, views[0, 0], np.array([0, 1, 2, 3], np.int32))
    at = {name: found[:, column] for column, name in enumerate(USER_FEATURES)}
    assert at["past: items"].tolist() == pytest.approx([np.log(3)] * 4)  # item 9 is new
    assert at["past: its mean"].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])
    assert at["past: nearest"].tolist() == [1, 1, 0, 0]
    assert at["past: newest"].tolist() == [0, 1, 0, 0]
    assert at["past: the query"].tolist() == pytest.approx([0.5**0.5] * 4)
    # Genre a has all of the past, each country half of it.
    assert at["past: values"].tolist() == pytest.approx([0.75, 0.75, 0.25, 0.25])
    assert at["past: values of the newest"].tolist() == [0.5, 1, 0, 0.5]
    assert at["past: values against all items"][:2].min() > 0
    assert at["past: values against all items"][2:].max() < 0
    assert at["country: same"].tolist() == [1, 0, 1, 0]
    assert at["attributes: same"].tolist() == [-1] * 4
    nobody = features.compute(RequestUser(), views[0, 0], np.array([0, 3], np.int32))
    assert nobody[:, :9].tolist() == [[0] * 9] * 2
    assert nobody[:, 9:].tolist() == [[-1, -1]] * 2
