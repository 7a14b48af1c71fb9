from dataclasses import replace

import numpy as np
import pytest

from serendip.data import Dataset, Query
from serendip.models.base import Recommender
from serendip.models.item_to_item import (
    EASE,
    EASEConfig,
    ItemKNN,
    ItemKNNConfig,
    Transitions,
    TransitionsConfig,
    build_user_item_matrix,
)
from serendip.testing.worlds import build_small_world

VIEWED, BOUGHT = 4, 9


def with_strengths(dataset: Dataset, strengths: np.ndarray) -> Dataset:
    events = replace(dataset.events, strengths=strengths.astype(np.float32))
    return replace(dataset, events=events)


@pytest.fixture
def world() -> Dataset:
    """Two items follow item 0 equally often, one of them is bought and the other viewed."""
    dataset = build_small_world(num_items=12, num_users=4, num_events=16)
    events = replace(
        dataset.events,
        users=np.repeat(np.arange(4, dtype=np.int32), 4)[:16],
        items=np.tile(np.array([0, VIEWED, 0, BOUGHT], np.int32), 4),
    )
    return replace(dataset, events=events)


MODELS = [
    Transitions(TransitionsConfig(mode="plain")),
    ItemKNN(ItemKNNConfig(shrinkage=2.0)),
]


@pytest.mark.parametrize("model", [*MODELS, EASE(EASEConfig(l2=1.0))], ids=lambda model: model.name)
def test_a_strength_of_1_changes_nothing(model: Recommender) -> None:
    dataset = build_small_world()
    queries = [Query(history=dataset.history(user)) for user in range(5)]
    plain = model.train(dataset).score_all(queries)
    weighted = model.train(with_strengths(dataset, np.ones(len(dataset.events))))
    np.testing.assert_allclose(weighted.score_all(queries), plain, rtol=0, atol=1e-6)


def test_a_user_counts_by_their_strongest_action(world: Dataset) -> None:
    strengths = np.ones(16)
    strengths[2] = 3.0  # the second event of user 0 with item 0
    matrix = build_user_item_matrix(with_strengths(world, strengths)).toarray()
    assert matrix[:, 0].tolist() == [3.0, 1.0, 1.0, 1.0]
    assert matrix.sum() == 3.0 + 3.0 + 8.0
