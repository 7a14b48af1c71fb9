"""Queries are moved to where the good items of queries like them lie, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.projection import (
    LEARNED_FEATURES,
    QueryProjection,
    QueryProjectionConfig,
    out_of_fold_features,
)

CONFIG = QueryProjectionConfig()
FOR_BOTH = LEARNED_FEATURES.index("learned title: for both")
GROUPS, EACH, SIZE = 6, 20, 32


class World:
    """Six groups of queries and of items: what belongs together is nothing that cosines know."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        centres = random.normal(size=(2, GROUPS, SIZE))
        self.group = np.repeat(np.arange(GROUPS), EACH)
        asked, offered = (
            one[self.group] + 0.3 * random.normal(size=(len(self.group), SIZE)) for one in centres
        )
        titles = self.unit(offered)
        names = [f"item {number}" for number in range(len(titles))]
        self.queries = QueryTexts.of(names, self.unit(asked))
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
        self.is_bad = self.group[rows] != self.group[numbers]

    @staticmethod
    def unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def auroc(self, scores: np.ndarray, mask: np.ndarray) -> float:
        good, bad = scores[mask & ~self.is_bad], scores[mask & self.is_bad]
        return float((good[:, None] > bad).mean())


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def fitted(world: World, learned: np.ndarray) -> QueryProjection:
    good = learned & ~world.is_bad
    pairs = world.rows[good], world.numbers[good]
    return QueryProjection.fit(CONFIG, world.features, world.queries, pairs)


def test_what_was_learned_of_some_queries_holds_for_others(world: World) -> None:
    learned = (world.rows % 2 == 0) & (world.numbers % 2 == 0)
    asked = (world.rows % 2 == 1) & (world.numbers % 2 == 1)
    plain = world.features.of(world.queries, world.items, world.rows, world.numbers)[:, 0]
    found = fitted(world, learned).of(world.queries, world.rows, world.numbers)
    assert found.shape == (len(world.rows), len(LEARNED_FEATURES))
    assert world.auroc(plain, asked) < 0.7
    assert world.auroc(found[:, FOR_BOTH], asked) > 0.95


def test_few_directions_say_what_matters_and_enough_of_them_everything(world: World) -> None:
    good = (world.rows % 2 == 0) & ~world.is_bad
    pairs = world.rows[good], world.numbers[good]

    def found(directions: int) -> np.ndarray:
        config = QueryProjectionConfig(directions=directions)
        map_ = QueryProjection.fit(config, world.features, world.queries, pairs)
        assert map_.shares.shape[1] == min(directions, len(map_.landmarks))
        return map_.of(world.queries, world.rows, world.numbers)

    landmarks = len(np.unique(pairs[0]))
    np.testing.assert_allclose(found(landmarks), found(10 * landmarks), atol=1e-6)
    few, asked = found(GROUPS)[:, FOR_BOTH], world.rows % 2 == 1
    assert world.auroc(few, asked) > 0.95
    assert world.auroc(found(1)[:, FOR_BOTH], asked) < world.auroc(few, asked) - 0.05


def test_one_pair_alone_has_the_features_that_it_has_among_others(world: World) -> None:
    likeness = fitted(world, world.rows % 2 == 0)
    some = np.arange(0, len(world.rows), 997)
    rows, numbers = world.rows[some], world.numbers[some]
    together = likeness.of(world.queries, rows, numbers)
    for place in range(len(some)):
        own = slice(place, place + 1)
        alone = likeness.of(world.queries, rows[own], numbers[own])
        np.testing.assert_allclose(alone[0], together[place], atol=1e-4)


def test_a_query_like_no_other_stays_where_it_is(world: World) -> None:
    config = QueryProjectionConfig(sharpness=60.0)
    near = world.group[world.rows] < 3
    good = near & ~world.is_bad
    pairs = world.rows[good], world.numbers[good]
    sharp = QueryProjection.fit(config, world.features, world.queries, pairs)
    pairs = world.rows, world.numbers
    plain = world.features.of(world.queries, world.items, *pairs)[:, 0]
    moved = np.abs(sharp.of(world.queries, *pairs)[:, 0] - plain)
    assert moved[~near].max() < 1e-3
    assert np.median(moved[good]) > 0.1


def test_features_to_learn_from_know_nothing_of_their_own_unit(world: World) -> None:
    """Labels of a unit that are turned round change the features of all units but that one."""
    units = (world.rows % 10).astype(np.int32)
    queries, pairs = world.queries, (world.rows, world.numbers)
    before = out_of_fold_features(CONFIG, world.features, queries, pairs, world.is_bad, units)
    turned = world.is_bad ^ (units == 3)
    after = out_of_fold_features(CONFIG, world.features, queries, pairs, turned, units)
    same = np.isclose(before, after, atol=1e-6).all(1)
    assert same[units == 3].all()
    assert same.mean() < 0.3
    assert world.auroc(before[:, FOR_BOTH], np.ones(len(units), np.bool_)) > 0.9


def test_the_same_seed_gives_the_same_features(world: World) -> None:
    one, other = (
        out_of_fold_features(
            QueryProjectionConfig(landmarks=20),
            world.features,
            world.queries,
            (world.rows, world.numbers),
            world.is_bad,
            (world.rows % 10).astype(np.int32),
            seed,
        )
        for seed in (4, 4)
    )
    assert np.array_equal(one, other)
