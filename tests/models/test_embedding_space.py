from pathlib import Path

import numpy as np
import pytest

from serendip.models.embedding_space import MIN_AGREEMENT, SpaceContinuity, VectorSpace

PARTS = {"network": 4, "content": 3, "bonus": 1}
IDS = [f"i{number}" for number in range(40)]


def vectors_of(seed: int = 0, items: int = len(IDS)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, 8)).astype(np.float32)


def turn(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0].astype(np.float32)


def begun(vectors: np.ndarray) -> VectorSpace:
    return VectorSpace.begin("retriever", 1, PARTS, IDS, vectors.__getitem__)


def continued(
    space: VectorSpace, vectors: np.ndarray, ids: list[str] = IDS
) -> tuple[VectorSpace, SpaceContinuity]:
    return space.continue_with(PARTS, ids, vectors.__getitem__)


def on_other_axes(vectors: np.ndarray) -> np.ndarray:
    """As another training would give them: the network's part is turned."""
    other = vectors.copy()
    other[:, :4] = vectors[:, :4] @ turn(5)
    return other


def test_another_training_is_turned_back_onto_the_space() -> None:
    vectors = vectors_of()
    space, kept = continued(begun(vectors), on_other_axes(vectors))
    assert kept.reason == ""
    assert kept.items == 40
    assert kept.agreement == pytest.approx({"network": 1.0, "content": 1.0}, abs=1e-5)
    assert space.name == begun(vectors).name
    np.testing.assert_allclose(space.rotate(on_other_axes(vectors)), vectors, atol=1e-5)


def test_items_are_found_by_id_wherever_they_stand_and_new_ones_are_turned_with_them() -> None:
    vectors = vectors_of()
    others = [*(f"new{number}" for number in range(9)), *IDS[::-1][:30]]
    shuffled = np.concatenate([vectors_of(3, 9), vectors[::-1][:30]])
    space, kept = continued(begun(vectors), on_other_axes(shuffled), others)
    assert kept.items == 30
    np.testing.assert_allclose(space.rotate(on_other_axes(shuffled)), shuffled, atol=1e-5)


def test_small_moves_do_not_add_up_unnoticed() -> None:
    """Each training is near the one before; the space ends where they have left its beginning."""
    vectors, space, told = vectors_of(), begun(vectors_of()), []
    for step in range(1, 40):
        vectors = vectors + 0.4 * vectors_of(100 + step)
        space, kept = continued(space, vectors)
        told.append(kept.agreement["network"])
        if kept.reason:
            break
    assert space.version == 2
    assert told[0] > 0.9
    assert told[-1] < MIN_AGREEMENT <= told[-2]
    assert f"below {MIN_AGREEMENT}" in kept.reason
    np.testing.assert_array_equal(space.rotate(vectors), vectors)


def test_other_dimensions_and_no_common_items_are_another_version() -> None:
    space = begun(vectors_of())
    parts = {"network": 8}
    after, kept = space.continue_with(parts, IDS, vectors_of().__getitem__)
    assert (after.version, dict(after.parts)) == (2, parts)
    assert kept.reason == (
        "dimensions were 4 of network, 3 of content, 1 of bonus, now 8 of network"
    )
    after, kept = continued(space, vectors_of(), [f"other{item}" for item in IDS])
    assert (after.version, kept.reason) == (2, "no items in common")


def test_a_space_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    vectors = vectors_of()
    space, _ = continued(begun(vectors), on_other_axes(vectors))
    space.save(tmp_path / "space")
    back = VectorSpace.open(tmp_path / "space")
    assert (back.name, back.version, back.parts) == (space.name, 1, PARTS)
    assert list(back.parts) == list(PARTS)
    np.testing.assert_array_equal(back.rotate(vectors), space.rotate(vectors))
