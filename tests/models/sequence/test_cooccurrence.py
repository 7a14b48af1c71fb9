import numpy as np
import pytest

from serendip.models.sequence.packing import Sequences, cooccurrence_vectors


def sequences(*histories: list[int]) -> Sequences:
    lengths = np.array([len(one) for one in histories], np.int64)
    items = np.concatenate([np.array(one, np.int64) for one in histories])
    return Sequences(items, np.cumsum(lengths) - lengths, lengths)


def oracle(past: Sequences, num_items: int) -> np.ndarray:
    """Cosines (N, N) of the vectors, from the definition, all directions kept."""
    counts = np.zeros((num_items, num_items))
    for start, length in zip(past.starts, past.lengths, strict=True):
        row = past.items[start : start + length].tolist()
        for at, left in enumerate(row):
            for gap, right in enumerate(row[at + 1 : at + 4], start=1):
                if left != right:
                    counts[left, right] += 1 / gap
                    counts[right, left] += 1 / gap
    factors = (counts.sum(1) + 1) ** -0.4
    values, vectors = np.linalg.eigh(factors[:, None] * counts * factors)
    found = vectors * np.sqrt(np.maximum(values, 0))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit = np.where(lengths > 1e-6, found / np.maximum(lengths, 1e-6), 0)
    return unit @ unit.T


def test_items_beside_one_another_point_along_the_largest_directions() -> None:
    vectors = cooccurrence_vectors(sequences([0, 1], [1, 0], [2, 3]), 5, 2)
    cosines = vectors @ vectors.T
    np.testing.assert_allclose(cosines[:4, :4], np.kron(np.eye(2), np.ones((2, 2))), atol=1e-5)
    assert not vectors[4].any()

    random = np.random.default_rng(0)
    past = sequences(*(random.integers(0, 60, 6).tolist() for _ in range(80)))
    few, all_of_them = (cooccurrence_vectors(past, 60, size) for size in (4, 60))
    again = cooccurrence_vectors(past, 60, 4)
    np.testing.assert_array_equal(few, again)
    cut = all_of_them[:, :4] / np.linalg.norm(all_of_them[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(few @ few.T, cut @ cut.T, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_cosines_are_those_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    past = sequences(*(random.integers(0, 12, random.integers(1, 9)).tolist() for _ in range(20)))
    vectors = cooccurrence_vectors(past, 12, 12)
    np.testing.assert_allclose(vectors @ vectors.T, oracle(past, 12), atol=1e-4)


@pytest.mark.parametrize(("num_items", "size"), [(300, 8), (400, 64)])
def test_parts_without_a_path_between_them_give_the_same_vectors_every_time(
    num_items: int, size: int
) -> None:
    random = np.random.default_rng(0)
    past = sequences([0, 1], [2, 3], [4, 5], *random.integers(0, 60, (40, 5)).tolist())
    first, second = (cooccurrence_vectors(past, num_items, size) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    pairs = sequences([0, 1], [2, 3], [4, 5])
    first, second = (cooccurrence_vectors(pairs, num_items, size) for _ in range(2))
    np.testing.assert_array_equal(first, second)
