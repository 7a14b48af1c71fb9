"""What the default evaluation makes, what it leaves to the full one, and how it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, import_shop

from serendip.data.dataset_folder import save_dataset
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.splits import temporal
from serendip.engine.artefacts.quality_report import QualityReport
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.errors import DataError, SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate import evaluate
from serendip.jobs.evaluate.evaluate import evaluate_workspace, plan_splits
from serendip.jobs.evaluate.split import (
    HASH_IDS,
    PLAN,
    WITHOUT_CONTEXT,
    SplitTask,
    evaluate_split,
    sample_users,
)
from serendip.runtime.executor import LocalExecutor, Result, Task
from serendip.runtime.job_status import DONE, FAILED, JobStatus
from serendip.runtime.progress import TrainOptions
from serendip.runtime.progress_steps import Step, StepProgress


class Names(StepProgress):
    """Remembers the names of the steps."""

    def __init__(self) -> None:
        super().__init__(wake_s=None)
        self.names: list[str] = []

    def begin(self, step: Step) -> None:
        self.names.append(step.name)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose ranker learns from no written searches."""
    return import_shop(tmp_path_factory.mktemp("plain"), more=WITHOUT_SEARCHES)


def test_one_temporal_cut_is_made_and_the_rest_is_named(shop: Path) -> None:
    progress = Names()
    context = JobContext.open(shop, TrainOptions(progress=progress))
    report = evaluate_workspace(context)
    assert list(report["protocols"]) == ["temporal"]
    cuts = report["protocols"]["temporal"]["cuts"]
    assert [cut["fraction"] for cut in cuts] == [0.9]
    assert report["splits"] == {
        "made": ["temporal@0.9"],
        "left_out": ["temporal@0.8", "temporal@0.7", "leave_last_out"],
        "sampled": {},
    }
    assert report["verdict"][-1] == (
        "Judged: the temporal cut at 90 % of the events. Not judged: the temporal cut at 80 % of "
        "the events, the temporal cut at 70 % of the events and leave last out; `serendip "
        "evaluate --full` adds them."
    )
    assert report["verdict"][-2].startswith("Exploration: nothing was explored")
    assert report["exploration"]["impressions"] == 0
    assert report["new_items"]["requests"] == cuts[0]["targets"]
    assert report["semantic_ids"]["num_items"] == 60
    assert report["verdict"][-3].startswith("Context: nothing is read")
    assert (report["context"]["kept"], report["context"]["gains"]) == ([], [])
    assert list(report["reasons"]) == ["home", "search", "similar"]
    for place, (surface, reasons) in enumerate(report["reasons"].items()):
        told = report["verdict"][place - 6]
        assert told.startswith(f"Reasons on {surface}: ")
        assert reasons["lists"] > 0 and reasons["told"]
        has_others = surface != "similar"  # an item has one value, beside which there is no other
        assert (reasons["all"]["reasons"] > 0) == has_others
    assert report["reasons"]["similar"]["left_out"] > 0
    assert list(report["surfaces"]) == list(context.settings.all_surfaces())
    assert report["search"]["n_requests"] > 0
    assert report["surfaces"]["home"]["n_requests"] == cuts[0]["targets"]
    home, whole = report["surfaces"]["home"], report["protocols"]["temporal"]
    assert list(report["new_items"]["systems"]) == list(whole["systems"])
    for system, found in whole["systems"].items():
        for metric in ("nDCG@10", "Recall@10"):
            assert home["systems"][system][metric]["value"] == found[metric]["value"]
    page = (shop / "reports" / "report.html").read_text()
    for rung in ("content rung", "popular rung", "newest rung"):
        cost = next(row for row in home["comparisons"] if row["baseline"] == rung)
        assert cost["metric"] == "nDCG@10" and cost["low"] <= cost["difference"] <= cost["high"]
        assert f"<th>{rung}</th>" in page
    assert json.loads((shop / "reports" / "report.json").read_text()) == report
    assert "Not judged" in (shop / "reports" / "report.html").read_text()
    status = QualityReport(shop / "reports").status()
    assert status is not None
    assert status.state == DONE
    assert {name for name, _ in evaluate.PLAN[1:]} <= set(progress.names)


def test_the_full_evaluation_makes_every_split_for_all_users(shop: Path) -> None:
    context = JobContext.open(shop)
    made, left_out = plan_splits(context.workspace, shop / "dataset", 0, full=True)
    assert [task.name for task in made] == [
        "temporal@0.9",
        "temporal@0.8",
        "temporal@0.7",
        "leave_last_out",
    ]
    assert [(task.fraction, task.until) for task in made[:3]] == [(0.9, 1), (0.8, 0.9), (0.7, 0.8)]
    assert {task.max_targets for task in made} == {None}
    assert left_out == []
    default, others = plan_splits(context.workspace, shop / "dataset", 0, full=False)
    assert [default[0].name, *(task.name for task in others)] == [task.name for task in made]
    assert default[0].max_targets == evaluate.MAX_TARGETS


def test_the_plan_names_the_steps_of_a_split(shop: Path, tmp_path: Path) -> None:
    """A stage that is renamed would silently spoil the estimate of the time left."""
    status, dataset = tmp_path / "status.json", tmp_path / "dataset"
    context = JobContext.open(shop)
    save_dataset(context.dataset, dataset)
    task = SplitTask(WorkspaceLocation.of(context.workspace), str(dataset), 0.9, 1.0, 0)
    evaluate_split(replace(task, surfaces=True, status=str(status)))
    last = JobStatus.read(status)
    assert last is not None
    *before, surfaces = (weight for _, weight in PLAN)
    # All steps before the last one are known; how far the last one was depends on the time.
    assert sum(before) / (sum(before) + surfaces) - 1e-9 <= last.share <= 1.0
    assert last.text.startswith("surfaces")


def test_a_sample_has_whole_users_up_to_the_limit_and_its_size_is_reported(shop: Path) -> None:
    split = temporal(JobContext.open(shop).dataset, 0.7)
    counts = {user: split.targets.users.count(user) for user in split.targets.users}
    limit = len(split.targets) // 2
    sampled = sample_users(split, limit, seed=1)
    kept = {user: sampled.targets.users.count(user) for user in sampled.targets.users}
    assert kept == {user: counts[user] for user in kept}
    assert limit - max(counts.values()) < len(sampled.targets) <= limit
    rows = [row for row, user in enumerate(split.targets.users) if user in kept]
    assert np.array_equal(sampled.targets.items, split.targets.items[rows])
    assert np.array_equal(sampled.targets.known, split.targets.known[rows])
    assert set(sample_users(split, limit, seed=2).targets.users) != set(kept)
    assert len(set(sample_users(split, 1, seed=1).targets.users)) == 1
    assert sample_users(split, len(split.targets), seed=1) is split
    assert sample_users(split, None, seed=1) is split


def test_a_sample_is_named_in_the_report(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_TARGETS", 10)
    report = evaluate_workspace(JobContext.open(plain))
    sample = report["splits"]["sampled"]["temporal@0.9"]
    cut = report["protocols"]["temporal"]["cuts"][0]
    assert cut["targets"] <= 10 < cut["all_targets"]
    assert 1 <= sample["users"] < sample["all_users"] == cut["all_users"]
    assert (
        f"The temporal cut at 90 % of the events: a random {sample['users']} of "
        f"{sample['all_users']} users were judged; `serendip evaluate --full` judges all."
    ) in report["verdict"]


def test_a_failure_is_left_for_the_page(tmp_path: Path) -> None:
    folder = import_shop(tmp_path, num_users=3)
    with pytest.raises(DataError, match="too few"):
        evaluate_workspace(JobContext.open(folder))
    status = QualityReport(folder / "reports").status()
    assert status is not None
    assert status.state == FAILED
    assert "too few for a report" in status.text


class UnreachableExecutor(LocalExecutor):
    """Notes the tasks of other machines, and fails."""

    is_local = False

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        self.tasks = [*tasks]
        raise SerendipError("no machine answers.")


def test_tasks_of_a_relative_workspace_find_all_files_from_any_folder(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain.parent)
    executor = UnreachableExecutor(2)
    context = JobContext.open(Path(plain.name), TrainOptions(executor=executor))
    with pytest.raises(SerendipError, match="no machine answers"):
        evaluate_workspace(context)
    (task,) = executor.tasks
    assert isinstance(task, SplitTask)
    assert Path(task.status).parent.parent == plain / "reports"
    assert Path(task.dataset).parent == Path(task.status).parent
    assert Path(task.workspace.folder) == plain


class ShopWriter(UnreachableExecutor):
    """Runs tasks in this process, after an item and events were posted to a shop."""

    def __init__(self, shop: Path) -> None:
        super().__init__(2)
        self._shop = shop

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        for task in tasks:
            with closing(Workspace.open(self._shop).open_store()) as store:
                store.put_items([Item("posted", "Posted meanwhile")])
                store.put_events(
                    [Event(f"later{user}", "posted", 1_700_000_000.0) for user in range(50)]
                )
            yield work(task)


def test_what_is_posted_meanwhile_is_in_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "MAX_TARGETS", 10)
    folder = import_shop(tmp_path, more=WITHOUT_SEARCHES)
    split = temporal(JobContext.open(folder).dataset, 0.9)
    options = TrainOptions(executor=ShopWriter(folder))
    report = evaluate_workspace(JobContext.open(folder, options))
    assert len(JobContext.open(folder).dataset.catalogue) == 61
    cut = report["protocols"]["temporal"]["cuts"][0]
    assert cut["cut"] == split.cut
    assert cut["train_events"] == len(split.train.events)
    assert (cut["train_items"], cut["new_items"]) == (split.train.num_items, len(split.new_items))
    assert cut["all_targets"] == len(split.targets)
    assert report["semantic_ids"]["num_items"] == 60


def test_hash_ids_are_a_row_of_home_that_only_the_full_evaluation_makes(
    plain: Path, tmp_path: Path
) -> None:
    context, dataset = JobContext.open(plain), tmp_path / "dataset"
    save_dataset(context.dataset, dataset)
    made, _ = plan_splits(context.workspace, dataset, 0, full=True)
    assert [task.ablations for task in made] == [True, False, False, False]
    assert [task.surfaces for task in made] == [True, False, False, False]
    assert not plan_splits(context.workspace, dataset, 0, full=False)[0][0].ablations
    split = evaluate_split(made[0])
    assert HASH_IDS not in split.lists
    home, similar = (
        next(one for one in split.surfaces if one.surface == name) for name in ("home", "similar")
    )
    assert {"retriever", HASH_IDS} <= set(home.systems)
    assert HASH_IDS not in similar.systems
    assert WITHOUT_CONTEXT not in home.systems  # the shop has none
    assert home.systems[HASH_IDS]["Recall@10"].value > 0
    assert home.slices["tail items"].systems[HASH_IDS]["nDCG@10"].n > 0
