"""What is published depends on data, settings and seed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from generation_files import read_facts, read_generation
from small_shop import import_shop

from serendip.jobs.context import JobContext
from serendip.jobs.train.train import train_workspace
from serendip.models.sparse import row_tasks
from serendip.runtime.executor import LocalExecutor
from serendip.runtime.progress import TrainOptions


def test_one_process_and_two_publish_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_tasks, "BLOCKS_PER_TASK", 2)
    found = []
    for workers in (1, 2):
        folder = import_shop(tmp_path / str(workers), num_users=20)
        options = TrainOptions(executor=LocalExecutor(workers))
        generation = train_workspace(JobContext.open(folder, options))
        found.append(read_generation(generation.folder))
    one, two = found
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == ["manifest.json"]
    assert read_facts(one["manifest.json"]) == read_facts(two["manifest.json"])
    assert any(name.startswith("ranker/") for name in one)
