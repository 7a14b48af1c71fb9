import numpy as np
import pytest

from serendip.models.relevance import projection as projection_module
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.projection import (
    PROJECTED_FEATURES,
    QueryProjection,
    out_of_fold_features,
)

FOR_QUERY = PROJECTED_FEATURES.index("projected title: for the query")
CLUSTERS, EACH, SIZE = 6, 20, 32


class World:
    """Six clusters of queries and of items, whose vectors are unrelated."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        centres = random.normal(size=(2, CLUSTERS, SIZE))
        self.cluster = np.repeat(np.arange(CLUSTERS), EACH)
        queries, items = (
            centre[self.cluster] + 0.3 * random.normal(size=(len(self.cluster), SIZE))
            for centre in centres
        )
        titles = self.unit(items)
        names = [f"item {number}" for number in range(len(titles))]
        self.queries = QueryTexts.of(names, self.unit(queries))
        self.items = ItemTexts.of(
            [(name, "", []) for name in names],
            titles,
            titles * 0,
            titles[:0],
            np.zeros(len(titles) + 1, np.int64),
        )
        self.features = PairFeatures.fit(self.queries, self.items)
        rows, numbers = np.divmod(np.arange(len(titles) ** 2), len(titles))
        self.rows, self.numbers = rows.astype(np.int32), numbers.astype(np.int32)
        self.is_irrelevant = self.cluster[rows] != self.cluster[numbers]

    @staticmethod
    def unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def auroc(self, scores: np.ndarray, mask: np.ndarray) -> float:
        relevant, irrelevant = scores[mask & ~self.is_irrelevant], scores[mask & self.is_irrelevant]
        return float((relevant[:, None] > irrelevant).mean())


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def fit_projection(world: World, is_train: np.ndarray) -> QueryProjection:
    relevant = is_train & ~world.is_irrelevant
    pairs = world.rows[relevant], world.numbers[relevant]
    return QueryProjection.fit(world.features, world.queries, pairs)


def test_a_projection_generalises_to_other_queries(world: World) -> None:
    is_train = (world.rows % 2 == 0) & (world.numbers % 2 == 0)
    is_test = (world.rows % 2 == 1) & (world.numbers % 2 == 1)
    plain = world.features.compute(world.queries, world.items, world.rows, world.numbers)[:, 0]
    projection = fit_projection(world, is_train)
    projected = projection.compute(world.features, world.queries, world.rows, world.numbers)
    assert projected.shape == (len(world.rows), len(PROJECTED_FEATURES))
    assert world.auroc(plain, is_test) < 0.7
    assert world.auroc(projected[:, FOR_QUERY], is_test) > 0.95


def test_a_query_far_from_all_landmarks_is_not_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "SHARPNESS", 60.0)
    is_near = world.cluster[world.rows] < 3
    relevant = is_near & ~world.is_irrelevant
    pairs = world.rows[relevant], world.numbers[relevant]
    projection = QueryProjection.fit(world.features, world.queries, pairs)
    pairs = world.rows, world.numbers
    plain = world.features.compute(world.queries, world.items, *pairs)[:, 0]
    change = np.abs(projection.compute(world.features, world.queries, *pairs)[:, 0] - plain)
    assert change[~is_near].max() < 1e-3
    assert np.median(change[relevant]) > 0.1


def test_out_of_fold_features_do_not_depend_on_labels_of_their_group(world: World) -> None:
    """Flipped labels of one group change the features of all other groups only."""
    groups = (world.rows % 10).astype(np.int32)
    queries, pairs = world.queries, (world.rows, world.numbers)
    before = out_of_fold_features(world.features, queries, pairs, world.is_irrelevant, groups)
    flipped = world.is_irrelevant ^ (groups == 3)
    after = out_of_fold_features(world.features, queries, pairs, flipped, groups)
    is_same = np.isclose(before, after, atol=1e-6).all(1)
    assert is_same[groups == 3].all()
    assert is_same.mean() < 0.3
    assert world.auroc(before[:, FOR_QUERY], np.ones(len(groups), np.bool_)) > 0.9
