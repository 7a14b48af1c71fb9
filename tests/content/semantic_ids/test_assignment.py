"""Codes of all items: the same bits in one process and in tasks, by codebooks of a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from thread_executor import ThreadExecutor

from serendip.content.semantic_ids import assignment, kmeans
from serendip.content.semantic_ids.kmeans import ResidualKMeans, ResidualKMeansConfig
from serendip.data.items.semantic_ids import ASSIGN_BLOCK
from serendip.runtime.progress import TrainOptions


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    count = 2 * ASSIGN_BLOCK + 300
    return np.random.default_rng(3).standard_normal((count, 8)).astype(np.float32)


def test_tasks_assign_the_codes_of_one_process(
    points: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "BLOCKS_PER_TASK", 1)
    config = ResidualKMeansConfig(codebook_size=16, iterations=3)
    codebooks, codes = ResidualKMeans(config).fit(points)
    executor = ThreadExecutor(2)
    options = TrainOptions(executor=executor, shared=tmp_path / "shared")
    found = assignment.assign_codes(codebooks, points, options)
    assert [(task.begin, task.end) for task in executor.tasks] == [
        (0, 1024),
        (1024, 2048),
        (2048, 2348),
    ]
    assert np.array_equal(found, codes)
    assert not [*(tmp_path / "shared").iterdir()]


def test_codebooks_of_many_items_are_fitted_to_a_sample(
    points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items outside of the sample cannot change the codebooks, and have codes all the same."""
    monkeypatch.setattr(kmeans, "_SAMPLE_PER_CODE", 20)
    model = ResidualKMeans(ResidualKMeansConfig(codebook_size=16, iterations=3))
    codebooks, codes = model.fit(points, TrainOptions(seed=2))
    rows = np.random.default_rng(2).choice(len(points), 320, replace=False)
    changed = points.copy()
    outside = np.setdiff1d(np.arange(len(points)), rows)
    changed[outside] = 0.5 * changed[outside[::-1]]
    again, _ = model.fit(changed, TrainOptions(seed=2))
    assert np.array_equal(again.centroids, codebooks.centroids)
    assert np.array_equal(codes, codebooks.assign(points))
    assert len(np.unique(codes[:, 0])) == 16
