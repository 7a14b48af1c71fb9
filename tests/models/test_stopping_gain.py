import numpy as np
import pytest

from serendip.models.early_stopping import compute_target_ndcg


def gain(scores: list[float], wanted: int, excluded: list[int]) -> float:
    rows, items = np.zeros(len(excluded), np.int64), np.array(excluded, np.int64)
    (value,) = compute_target_ndcg(
        np.array([scores], np.float32), np.array([wanted]), (rows, items)
    )
    return float(value)


@pytest.mark.parametrize(
    ("scores", "wanted", "excluded", "rank"),
    [
        ([3, 2, 1], 0, [], 0),
        ([3, 2, 1], 2, [], 2),
        ([3, 2, 1], 2, [0], 1),
        ([3, 2, 1], 1, [0, 1], 0),  # ranked though it is excluded
        ([1, 1, 1], 0, [], 1),  # ties count half
        ([2, 1, 1], 1, [], 1.5),
        ([-place for place in range(12)], 9, [], 9),
        ([-place for place in range(12)], 10, [], None),
        ([np.nan, 1, 2], 0, [], None),
        ([np.nan, 1, 2], 2, [], 0),
    ],
)
def test_the_gain_falls_with_the_rank(
    scores: list[float], wanted: int, excluded: list[int], rank: float | None
) -> None:
    expected = 0.0 if rank is None else 1 / np.log2(rank + 2)
    assert gain(scores, wanted, excluded) == pytest.approx(expected)
