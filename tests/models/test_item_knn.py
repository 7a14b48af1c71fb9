import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import Dataset, FloatArray, Query
from serendip.models.item_to_item import ItemKNN, ItemKNNConfig
from serendip.testing import (
    AddingVotesContract,
    LocalChangeContract,
    RecommenderContract,
    build_small_world,
)


class TestItemKNN(AddingVotesContract, LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> ItemKNN:
        return ItemKNN(ItemKNNConfig(num_neighbours=5))


def item(*numbers: int) -> Query:
    return Query(source_items=np.asarray(numbers, dtype=np.int32))


def similarities_of(model: ItemKNN) -> FloatArray:
    """(N, N): row i is what item i gives."""
    return model.score_all([item(number) for number in range(model.num_items)])


def written_formula(world: Dataset, shrinkage: float) -> FloatArray:
    """(N, N) shrunk cosines by their definition, in float64."""
    seen = np.zeros((world.num_users, world.num_items))
    seen[world.events.users, world.events.items] = 1
    norms = np.sqrt(seen.sum(axis=0))
    cosines = seen.T @ seen / np.maximum(np.outer(norms, norms) + shrinkage, 1e-9)
    np.fill_diagonal(cosines, 0)
    return cosines


@pytest.mark.parametrize("shrinkage", [0.0, 10.0])
def test_similarities_are_the_written_formula(shrinkage: float) -> None:
    world = build_small_world()
    model = ItemKNN(ItemKNNConfig(shrinkage=shrinkage)).train(world)
    expected = written_formula(world, shrinkage)
    assert np.count_nonzero(expected) > 100
    np.testing.assert_allclose(similarities_of(model), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 2**16), st.integers(1, 12), st.integers(1, 400))
def test_the_size_of_a_block_changes_no_bit(seed: int, neighbours: int, pairs: int) -> None:
    world = build_small_world(num_items=12, num_users=9, num_events=60, seed=seed)
    model = ItemKNN(ItemKNNConfig(num_neighbours=neighbours))
    whole = similarities_of(model.train(world))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serendip.models.item_to_item._PAIRS_PER_BLOCK", pairs)
        np.testing.assert_array_equal(similarities_of(model.train(world)), whole)
    assert (np.count_nonzero(whole, axis=1) <= neighbours).all()
    best = np.sort(written_formula(world, 10.0), axis=1)[:, -neighbours:]
    np.testing.assert_allclose(np.sort(whole, axis=1)[:, -neighbours:], best, rtol=1e-6)
