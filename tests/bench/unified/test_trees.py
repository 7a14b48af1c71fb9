from __future__ import annotations

import numpy as np

from serendip.models.ranker.config import RankerRows
from serendip_bench.unified.engine import Trees

COUNT, SIZE = 200, 10


def rows() -> RankerRows:
    """The item with the largest first feature is right in task 0, with the smallest in task 1."""
    rng = np.random.default_rng(0)
    features = rng.random((COUNT, SIZE, 2), np.float32)
    task = np.arange(COUNT) % 2
    signed = features[:, :, 0] * np.where(task == 0, 1, -1)[:, None]
    labels = signed == signed.max(1, keepdims=True)
    return RankerRows(
        features.reshape(-1, 2),
        np.repeat(task, SIZE),
        labels.reshape(-1, 1).astype(np.float32),
        np.ones(COUNT * SIZE, np.float32),
        np.repeat(np.arange(COUNT), SIZE),
    )


def test_trees_learn_an_order_for_each_task() -> None:
    training = rows()
    values = Trees(training, seed=0)(training.features, training.task).reshape(COUNT, SIZE)
    best = training.labels.reshape(COUNT, SIZE).argmax(1)
    assert (values.argmax(1) == best).mean() > 0.9
