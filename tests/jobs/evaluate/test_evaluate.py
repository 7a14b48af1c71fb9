"""What the default evaluation makes, what it leaves to the full one, and how it says so."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, import_shop

from serendip.data import Event, Item
from serendip.data.splits import temporal
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate import evaluate
from serendip.jobs.evaluate.evaluate import evaluate_workspace, plan_splits
from serendip.jobs.evaluate.split import SplitTask, sample_users
from serendip.runtime.executor import LocalExecutor, Result, Task
from serendip.runtime.progress import TrainOptions


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose ranker learns from no written searches."""
    return import_shop(tmp_path_factory.mktemp("plain"), more=WITHOUT_SEARCHES)


def test_one_temporal_cut_is_made_and_the_rest_is_named(shop: Path) -> None:
    context = JobContext.open(shop)
    report = evaluate_workspace(context)
    assert list(report["protocols"]) == ["temporal"]
    cuts = report["protocols"]["temporal"]["cuts"]
    assert [cut["fraction"] for cut in cuts] == [0.9]
    assert report["splits"] == {
        "made": ["temporal@0.9"],
        "left_out": ["temporal@0.8", "temporal@0.7"],
        "sampled": {},
    }
    assert "`serendip evaluate --full` adds 2 other splits." in report["verdict"][0]
    assert report["exploration"]["impressions"] == 0
    assert report["new_items"]["requests"] == cuts[0]["targets"]
    assert report["semantic_ids"]["num_items"] == 60
    assert {one["on"] for one in report["decisions"]} == {False}
    assert list(report["reasons"]) == ["home", "search", "similar"]
    for surface, reasons in report["reasons"].items():
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
    assert json.loads((shop / "reports" / "report.json").read_text()) == report
    assert "adds 2 other splits" in page


def test_the_full_evaluation_makes_every_split_for_all_users(shop: Path) -> None:
    context = JobContext.open(shop)
    made, left_out = plan_splits(context.workspace, shop / "dataset", 0, full=True)
    assert [task.name for task in made] == ["temporal@0.9", "temporal@0.8", "temporal@0.7"]
    assert [task.surfaces for task in made] == [True, False, False]
    assert [(task.fraction, task.until) for task in made] == [(0.9, 1), (0.8, 0.9), (0.7, 0.8)]
    assert {task.max_targets for task in made} == {None}
    assert left_out == []
    default, others = plan_splits(context.workspace, shop / "dataset", 0, full=False)
    assert [default[0].name, *(task.name for task in others)] == [task.name for task in made]
    assert default[0].max_targets == evaluate.MAX_TARGETS


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


def test_too_few_interactions_are_refused(tmp_path: Path) -> None:
    folder = import_shop(tmp_path, num_users=3)
    with pytest.raises(DataError, match="too few for a report"):
        evaluate_workspace(JobContext.open(folder))


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
    assert Path(task.dataset).parent.parent == plain / "reports"
    assert Path(task.workspace.folder) == plain


class ShopWriter(UnreachableExecutor):
    """Runs tasks in this process, after an item and events were posted to a shop."""

    def __init__(self, shop: Path) -> None:
        super().__init__(2)
        self._shop = shop

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        for task in tasks:
            with Workspace.open(self._shop).open_store() as store:
                store.put_items([Item("posted", "Posted meanwhile")])
                store.put_events(
                    [Event(f"later{user}", "posted", 1_700_000_000.0) for user in range(50)]
                )
            yield work(task)


def test_what_is_posted_meanwhile_is_in_no_split_of_a_sample(
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
    assert report["semantic_ids"]["num_items"] == 60
    sample = report["splits"]["sampled"]["temporal@0.9"]  # which is named
    assert cut["targets"] <= 10 < cut["all_targets"] == len(split.targets)
    assert 1 <= sample["users"] < sample["all_users"] == cut["all_users"]
    users = f"a random {sample['users']} of {sample['all_users']} users were judged"
    assert f"{users}, `serendip evaluate --full` judges all." in report["verdict"][0]
