"""Tasks on another machine than that of their command, which a database in a file refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_shop import write_files

from serendip.engine.request import Request
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.errors import ConfigError
from serendip.jobs.evaluate.split import SplitTask, evaluate_split
from serendip.jobs.evaluate.task_transfer import GroupTask, evaluate_group
from serendip.jobs.exports.embeddings import EmbedTask, encode_rows
from serendip.jobs.exports.engine_tasks import EngineLocation
from serendip.jobs.exports.recommendations import AnswerTask, answer_users

Run = Callable[[WorkspaceLocation], Any]


def _engine(location: WorkspaceLocation) -> EngineLocation:
    return EngineLocation(location, "gen-1", 0.0)


def open_replica(location: WorkspaceLocation) -> object:
    """A replica of a service, which needs Ray."""
    pytest.importorskip("ray.serve", reason="the extra ray-serve is not installed")
    from serendip.serve.ray_app import Replica

    return Replica(location, pytest.fail, "", 2)


TASKS: dict[str, Run] = {
    "evaluate": lambda location: evaluate_split(SplitTask(location, "dataset", 0.9, 1.0, 0)),
    "evaluate --alignment": lambda location: evaluate_group(
        GroupTask(location, "dataset", ("home",), 0)
    ),
    "embed": lambda location: encode_rows(EmbedTask(_engine(location), "users")),
    "recommend --batch": lambda location: answer_users(
        AnswerTask(_engine(location), Request(), None)
    ),
    "serve, at its start": WorkspaceLocation.open,
    "serve, a replica": open_replica,
}


def locate_elsewhere(folder: Path) -> WorkspaceLocation:
    """The location of a workspace whose command runs on another machine."""
    return replace(WorkspaceLocation.of(Workspace.open(folder)), machine="another")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", TASKS)
def test_a_task_on_another_machine_refuses_a_database_in_a_file(name: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    with pytest.raises(ConfigError, match=r"serendip\.db cannot be used by several") as caught:
        TASKS[name](locate_elsewhere(tmp_path))
    assert "serendip restore --database" in str(caught.value)
    sent = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # as Ray sends it
    assert str(sent) == str(caught.value)


def test_this_machine_and_a_database_on_a_server_are_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    assert WorkspaceLocation.of(Workspace.open(tmp_path)).open().folder == tmp_path
    monkeypatch.setenv("SERENDIP_STORE__URL", "postgresql+psycopg://serendip@localhost/shop")
    assert locate_elsewhere(tmp_path).open().folder == tmp_path
