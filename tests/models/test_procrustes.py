import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.models.linalg import fit_procrustes, mean_cosine

QUARTER = np.array([[0, 1], [-1, 0]], np.float32)


def normal(seed: int, rows: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)


def test_what_items_do_not_fill_or_say_is_not_turned() -> None:
    flat = np.array([[1, 0, 0, 0], [0, 2, 0, 0]], np.float32)
    turned = flat.copy()
    turned[:, :2] = flat[:, :2] @ QUARTER
    expected = np.eye(4, dtype=np.float32)
    expected[:2, :2] = QUARTER
    np.testing.assert_allclose(fit_procrustes(flat, turned), expected, atol=1e-7)

    source = np.array([[2, 0], [0, 1], [0, 0], [1, 1]], np.float32)
    target = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], np.float32)
    assert mean_cosine(source, target) == 0.5
    assert mean_cosine(source[2:], target[2:]) is None
    assert mean_cosine(source[:, :0], target[:, :0]) is None


@given(seed=st.integers(0, 1000), rows=st.integers(0, 12), size=st.integers(1, 6))
def test_the_map_is_orthogonal_and_keeps_all_dot_products(seed: int, rows: int, size: int) -> None:
    found = fit_procrustes(normal(seed, rows, size), normal(seed + 1, rows, size))
    np.testing.assert_allclose(found @ found.T, np.eye(size), atol=1e-5)
    users, items = normal(seed + 2, 5, size), normal(seed + 3, 4, size)
    np.testing.assert_allclose((users @ found) @ (items @ found).T, users @ items.T, atol=1e-4)
