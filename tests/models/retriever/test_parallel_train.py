"""Data-parallel training: a step of several processes is that of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from thread_executor import ThreadExecutor

from serendip.models.retriever.artefact import TrainedRetriever
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.train import train_retriever
from serendip.runtime.progress import TrainOptions
from serendip.testing.worlds import build_small_world

CONFIG = RetrieverConfig(
    embedding_size=16, search_size=8, epochs=2, max_len=10, dropout=0.0, id_dropout=0.0
)
"""Nothing is drawn but what the process of the training draws."""


def train(shared: Path, processes: int, executor: ThreadExecutor | None = None) -> TrainedRetriever:
    executor = executor or ThreadExecutor(2)
    options = TrainOptions(5, shared=shared, executor=executor, train_processes=processes)
    return train_retriever(build_small_world(seed=8), CONFIG, options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TrainedRetriever:
    return train(tmp_path_factory.mktemp("alone"), 1)


@pytest.mark.parametrize("processes", [2, 3])
def test_a_training_of_several_processes_is_that_of_one(
    alone: TrainedRetriever, tmp_path: Path, processes: int
) -> None:
    executor = ThreadExecutor(2)
    together = train(tmp_path, processes, executor)
    assert len(executor.tasks) == processes - 1
    assert np.abs(together.item_vectors - alone.item_vectors).max() < 1e-3
    start, other = together.start, alone.start
    assert start is not None
    assert other is not None
    for name, values in start.parameters.items():
        assert np.allclose(values, other.parameters[name], atol=1e-3), name
    assert not [*tmp_path.iterdir()]
