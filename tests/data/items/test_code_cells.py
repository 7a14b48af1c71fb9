import numpy as np
import pytest

from serendip.data.items.semantic_ids import MIN_ITEMS, NUM_NEAR, Codebooks, CodeCells
from serendip.data.numeric import unit


def world(count: int, levels: int) -> tuple[np.ndarray, Codebooks]:
    """Items around the sums of two centroids each, and the codebooks of these."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(16, 8)) / 8**0.5
    fine = 0.4 * rng.normal(size=(16, 8)) / 8**0.5
    centres = coarse[rng.integers(0, 16, count)] + fine[rng.integers(0, 16, count)]
    content = unit(centres + 0.05 * rng.normal(size=(count, 8)))
    return content, Codebooks(np.stack([coarse, fine, fine])[:levels].astype(np.float32))


@pytest.mark.parametrize(("levels", "share"), [(1, 0.75), (2, 0.9), (3, 0.9)])
def test_the_nearest_items_are_near_by_cells(levels: int, share: float) -> None:
    content, codebooks = world(MIN_ITEMS, levels)
    cells = CodeCells.of(codebooks.assign(content), codebooks)
    new, _ = world(30, levels)
    near = cells.near(new, content)
    assert near is not None and near.shape == (30, NUM_NEAR)
    found = 0
    for vector, items in zip(new, near, strict=True):
        distances = ((content - vector) ** 2).sum(1)
        found += len(set(np.argsort(distances)[:20].tolist()) & set(items.tolist()))
        assert len(set(items.tolist())) == NUM_NEAR and items.min() >= 0
    assert found >= share * 20 * 30


def test_in_a_small_catalogue_every_item_is_near() -> None:
    content, codebooks = world(50, 2)
    assert CodeCells.of(codebooks.assign(content), codebooks).near(content[:1], content) is None
    assert CodeCells.of(np.empty((0, 2), np.int32), codebooks).near(content[:1], content) is None
