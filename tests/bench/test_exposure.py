from pathlib import Path

import numpy as np
import pytest
from bench_world import write_world

from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.exposure import measure_exposure
from serendip_bench.splits import build_cold_split


def test_shares_of_cold_and_tail_items(tmp_path: Path) -> None:
    split = build_cold_split(read_sequences(write_world(tmp_path)), 3)
    cold = np.flatnonzero(split.cold)[0]
    popular = split.train.item_counts().argmax()
    lists = np.full((4, 10), -1, np.int32)
    lists[:, 0] = popular
    lists[0, 1] = cold
    histories = [np.array([popular], np.int32), *[np.empty(0, np.int32)] * 3]
    exposure = measure_exposure(lists, histories, split)
    assert exposure["coverage_cold@10"] == pytest.approx(1 / 5)
    assert exposure["cold_items_shown"] == pytest.approx(1 / exposure["cold_items"])
    assert exposure["tail_share@10"] == pytest.approx(1 / 5)
    assert 0.9 < exposure["gini@10"] <= 1
    # The one user with a history chose the most popular item; is shown it and one without events.
    assert exposure["popularity_lift@10"] == pytest.approx(-0.5)
