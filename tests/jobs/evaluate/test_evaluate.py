import json
from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, import_shop

from serendip.data.splits import temporal
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate import evaluate
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.evaluate.split import sample_users


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_shop(tmp_path_factory.mktemp("shop"))


def test_a_report_has_all_parts_of_one_cut_in_time(shop: Path) -> None:
    context = JobContext.open(shop)
    report = evaluate_workspace(context)
    targets = report["split"]["targets"]
    assert targets == report["split"]["all_targets"]
    assert report["exploration"]["impressions"] == 0
    assert report["new_items"]["requests"] == targets
    assert report["semantic_ids"]["num_items"] == 60
    assert {one["on"] for one in report["decisions"]} == {False}
    assert list(report["reasons"]) == ["home", "search", "similar"]
    for surface, reasons in report["reasons"].items():
        assert reasons["lists"] > 0 and reasons["told"]
        has_others = surface != "similar"  # an item has one value, beside which there is no other
        assert (reasons["all"]["reasons"] > 0) == has_others
    assert report["reasons"]["similar"]["left_out"] > 0
    assert list(report["surfaces"]) == list(context.settings.all_surfaces())
    assert report["surfaces"]["search"]["n_requests"] > 0
    assert report["surfaces"]["home"]["n_requests"] == targets
    assert list(report["new_items"]["systems"]) == list(report["surfaces"]["home"]["systems"])
    assert json.loads((shop / "reports" / "report.json").read_text()) == report
    assert "On the temporal split" in (shop / "reports" / "report.html").read_text()


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


def test_a_sample_of_users_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_TARGETS", 10)
    context = JobContext.open(import_shop(tmp_path, more=WITHOUT_SEARCHES))
    whole = temporal(context.dataset, 0.9)
    report = evaluate_workspace(context)
    split = report["split"]
    assert (split["fraction"], split["cut"]) == (0.9, whole.cut)
    assert split["train_events"] == len(whole.train.events)
    assert (split["train_items"], split["new_items"]) == (whole.train.num_items, 0)
    assert split["targets"] <= 10 < split["all_targets"] == len(whole.targets)
    assert 1 <= split["users"] < split["all_users"]
    users = f"a random {split['users']} of {split['all_users']} users were judged"
    assert f"{users}, `serendip evaluate --full` judges all." in report["verdict"][0]
