"""The older part is fitted beside the rest; what is published does not depend on where."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from generation_files import read_facts, read_generation
from small_shop import import_shop

from serendip.data.dataset_folder import save_dataset
from serendip.engine.config.settings import Settings
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.record import RECORD_FILE, QualityRecord
from serendip.jobs.train import engine_fit
from serendip.jobs.train.engine_fit import OlderTask, fit_older_task
from serendip.jobs.train.ranker import fit as ranker_fit
from serendip.jobs.train.ranker import row_tasks
from serendip.jobs.train.train import train_workspace
from serendip.runtime.budget import TimeBudget
from serendip.runtime.executor import LocalExecutor
from serendip.runtime.progress import TrainOptions

BESIDE = {"content and codes", "align content", "train retriever", "word index"}
"""Stages of both parts."""


@pytest.mark.parametrize("most_items", [1_000, 10])  # the latter: one part after the other
def test_one_process_and_two_publish_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_items: int
) -> None:
    monkeypatch.setattr(engine_fit, "MIN_EVENTS_BESIDE", 0)
    monkeypatch.setattr(engine_fit, "MOST_ITEMS_BESIDE", most_items)
    monkeypatch.setattr(row_tasks, "BATCHES_PER_TASK", 3)
    monkeypatch.setattr(ranker_fit, "FEWEST_WORKERS", 2)
    found, costs = [], []
    for workers in (1, 2):
        folder = import_shop(tmp_path / str(len(found)), num_users=20)
        options = TrainOptions(executor=LocalExecutor(workers))
        context = JobContext.open(folder, options)
        found.append(read_generation(train_workspace(context).folder))
        costs.append(sorted(stage.name for stage in context.clock.stages))
    one, two = found
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == ["manifest.json"]
    assert read_facts(one["manifest.json"]) == read_facts(two["manifest.json"])
    assert costs[0] == costs[1]
    assert all(costs[1].count(name) == 2 for name in BESIDE)
    assert any(name.startswith("ranker/") for name in one)


def test_the_time_that_is_left_is_that_of_both_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_fit, "MIN_EVENTS_BESIDE", 0)
    options = TrainOptions(executor=LocalExecutor(2))
    context = JobContext.open(import_shop(tmp_path, num_users=20), options, budget="1s")
    generation = train_workspace(context, force=True)  # within it no model may learn anything
    cut = {entry["name"] for entry in generation.manifest["budget"]["cut_short"]}
    assert any(name.startswith("retriever (all-older)") for name in cut)


def test_a_task_is_named_for_people() -> None:
    location = WorkspaceLocation.of(Workspace(Path("shop"), Settings()))
    task = OlderTask(location, "scratch", 0, "cpu", math.inf, is_measured=False)
    assert f"the process of {task} was killed" == (
        "the process of the fit on the older events was killed"
    )


def test_a_task_needs_nothing_but_its_files(tmp_path: Path) -> None:
    folder = import_shop(tmp_path / "shop", num_users=20)
    context = JobContext.open(folder)
    scratch = tmp_path / "scratch"
    save_dataset(context.dataset, scratch / "dataset")
    task = OlderTask(
        WorkspaceLocation.of(context.workspace), str(scratch), 0, "cpu", math.inf, is_measured=True
    )
    steps = list(fit_older_task(task))
    assert len(steps) == 3
    assert [stage.name for stage in steps[0].stages] == ["content and codes", "align content"]
    assert [stage.name for stage in steps[2].stages] == ["train ranker", "gate requests"]
    assert not steps[0].cuts
    (attempt,) = {Path(step.folder) for step in steps}
    assert attempt.parent == scratch
    assert (attempt / "ranker").is_dir()
    record = QualityRecord.open(attempt / RECORD_FILE)
    assert record is not None and "home" in record.surfaces
    ids = np.load(attempt / "learned" / "retriever" / "network" / "tower.ids.npy")
    assert np.isfinite(ids).all()
    assert math.isinf(TimeBudget().allow("", 1.0).seconds)
