import json

import pytest
from bench_world import InThisProcess
from small_shop import import_shop

from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.task_transfer import align_workspace
from serendip.runtime.progress import TrainOptions


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = import_shop(tmp_path_factory.mktemp("shop"), num_users=30)
    settings = folder / "serendip.toml"  # nothing here needs a retriever that has learned much
    settings.write_text(settings.read_text().replace("epochs = 2", "epochs = 1"))
    return Workspace.open(folder)


def test_every_set_of_tasks_is_trained_and_one_split_is_advised(shop: Workspace) -> None:
    executor = InThisProcess()
    report = align_workspace(JobContext(shop, TrainOptions(7, executor=executor)), seeds=1)
    assert report["seeds"] == [7]
    assert set(report["grouping"]) == {"1", "2", "3"}
    assert set(report["transfer"]) == {"home", "search", "similar"}
    for task, size in report["asked"].items():
        assert size["requests"] >= size["users"] > 0, task
    named = sorted(task for group in report["recommendation"]["groups"] for task in group)
    assert named == ["home", "search", "similar"]
    assert json.loads((shop.reports / "alignment.json").read_text()) == report
    assert "One model or several" in (shop.reports / "alignment.html").read_text()
