import numpy as np
import pytest

from serendip.data import Dataset, FloatArray, Query
from serendip.errors import DataError
from serendip.models.item_to_item import EASE, EASEConfig, build_user_item_matrix
from serendip.testing import (
    AddingVotesContract,
    LocalChangeContract,
    RecommenderContract,
    build_small_world,
)


class TestEASE(AddingVotesContract, LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> EASE:
        return EASE(EASEConfig(num_neighbours=5, l2=2.0))


def weights_of(model: EASE) -> FloatArray:
    """(N, N): row i is what item i gives."""
    everything = np.arange(model.num_items, dtype=np.int32)
    return model.score_all([Query(source_items=everything[[item]]) for item in everything])


def written_formula(world: Dataset, l2: float) -> FloatArray:
    """B by its definition in float64, negative weights left out."""
    seen = build_user_item_matrix(world).toarray().astype(np.float64)
    inverse = np.linalg.inv(seen.T @ seen + l2 * np.eye(world.num_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.maximum(weights, 0).astype(np.float32)


@pytest.mark.parametrize("rows_per_block", [1_024, 7])
def test_the_weights_are_the_written_formula(
    rows_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serendip.models.item_to_item._ROWS_PER_BLOCK", rows_per_block)
    world = build_small_world()
    model = EASE(EASEConfig(num_neighbours=30, l2=2.0)).train(world)
    expected = written_formula(world, 2.0)
    assert expected.any()
    np.testing.assert_allclose(weights_of(model), expected, rtol=0, atol=1e-6)


def test_only_the_largest_weights_are_kept_and_what_cannot_be_computed_is_refused() -> None:
    world = build_small_world()
    kept = weights_of(EASE(EASEConfig(num_neighbours=3, l2=2.0)).train(world))
    expected = written_formula(world, 2.0)
    expected[expected < np.sort(expected, axis=1)[:, -3, None]] = 0
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-6)

    reached = int((build_small_world().item_counts() > 0).sum())
    EASE(EASEConfig(max_items=reached)).train(build_small_world())
    with pytest.raises(DataError, match=f"{reached} items have events.*max_items = {reached - 1}"):
        EASE(EASEConfig(max_items=reached - 1)).train(build_small_world())
    with pytest.raises(DataError, match="l2 = 1e-20"):
        EASE(EASEConfig(l2=1e-20)).train(build_small_world(num_users=2))
