import numpy as np
import pytest

from serendip.jobs.semantic_ids import neighbour_agreement, pair_agreement

CONTENT = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [0, 0]], np.float32)


def test_neighbours_agree_where_their_first_code_does() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [2, 0], [0, 0]], np.int32)
    assert neighbour_agreement(CONTENT, codes) == 0.5
    codes[3, 0] = 1
    assert neighbour_agreement(CONTENT, codes) == 1.0
    assert neighbour_agreement(np.ones((3, 2), np.float32), np.zeros((3, 1), np.int32)) == 1.0
    assert neighbour_agreement(CONTENT[-2:], np.zeros((2, 1), np.int32)) is None, "an item alone"


def test_pairs_are_compared_with_chance() -> None:
    codes = np.array([[0], [0], [1], [1]], np.int32)
    pairs = np.array([[0, 1], [0, 2], [2, 3], [3, 2]], np.int32)
    found = pair_agreement(pairs, codes)
    assert found is not None
    assert found["together"] == 0.75
    assert found["by_chance"] == pytest.approx(0.5 * 0.25 + 0.5 * 0.75)
    assert pair_agreement(np.empty((0, 2), np.int32), codes) is None
