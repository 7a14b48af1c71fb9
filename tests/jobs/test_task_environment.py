import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small_shop import write_files

from serendip.engine.config.settings import Settings
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.task_transfer import GroupTask, evaluate_group
from serendip.jobs.exports.embeddings import encode_rows
from serendip.jobs.exports.export import EngineTask
from serendip.jobs.exports.recommendations import answer_users
from serendip.runtime.executor import LocalExecutor

DATABASE, STORAGE, LLM = (
    f"SERENDIP_{name}" for name in ("STORE__URL", "STORAGE__URL", "LLM__BASE_URL")
)
PRIVATE = {
    DATABASE: "postgresql+psycopg://shop:swordfish@db.internal/shop",
    STORAGE: "s3://shop:swordfish@bucket/shop",
    LLM: "https://shop:swordfish@llm.internal/v1",
}


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of a location in a task: the settings, or the error."""

    settings: Settings | None = None
    error: str = ""


def open_all(locations: Sequence[WorkspaceLocation]) -> list[Opening]:
    """Body of a task."""
    found = []
    for location in locations:
        try:
            found.append(Opening(JobContext.of(location.open()).settings))
        except ConfigError as error:
            found.append(Opening(error=str(error)))
    return found


def run_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    locations: Sequence[WorkspaceLocation],
    environment: Mapping[str, str],
) -> list[Opening]:
    """Open locations in another process, whose settings are those of an environment alone."""
    with monkeypatch.context() as changed:
        for name in [*os.environ]:
            if name.upper().startswith("SERENDIP_"):
                changed.delenv(name)
        for name, value in environment.items():
            changed.setenv(name, value)
        (found,) = LocalExecutor(2).map(open_all, [locations])
    return found


def locate(
    monkeypatch: pytest.MonkeyPatch, folder: Path, environment: Mapping[str, str]
) -> WorkspaceLocation:
    """The location that a command hands over which runs in an environment."""
    with monkeypatch.context() as changed:
        for name, value in environment.items():
            changed.setenv(name, value)
        return WorkspaceLocation.of(Workspace.open(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def test_a_task_in_the_environment_of_its_command_has_its_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"SERENDIP_GATE__MARGIN": "0.2", "SERENDIP_CONTENT__FIELDS": '["title"]'}
    (found,) = run_elsewhere(monkeypatch, [locate(monkeypatch, folder, told)], told)
    assert found.settings is not None, found.error
    assert found.settings.gate.margin == 0.2


def test_a_task_with_another_setting_than_its_command_refuses_and_names_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = locate(monkeypatch, folder, {"SERENDIP_GATE__MARGIN": "0.2"})
    for own in ({"SERENDIP_GATE__MARGIN": "0.4"}, {}):
        (found,) = run_elsewhere(monkeypatch, [location], own)
        assert "[gate] of a task on" in found.error
        assert "Give the variables SERENDIP_GATE__" in found.error


def test_secrets_are_taken_from_the_environment_of_the_task_and_never_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = locate(monkeypatch, folder, PRIVATE)
    assert b"swordfish" not in pickle.dumps(location)
    own = {name: value.replace("shop:swordfish", "task:other") for name, value in PRIVATE.items()}
    (found,) = run_elsewhere(monkeypatch, [location], own)
    assert found.settings is not None, found.error
    settings = found.settings
    assert [settings.store.url, settings.storage.url, settings.llm.base_url] == [*own.values()]


def test_a_task_without_a_secret_of_its_command_refuses_and_names_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = [locate(monkeypatch, folder, {name: PRIVATE[name]}) for name in PRIVATE]
    # The other machine has no other reason: the database of the command is on a server.
    locations.append(replace(locations[0], machine="another"))
    found = run_elsewhere(monkeypatch, locations, {})
    for opening, name in zip(found, ["store", "storage", "llm", "store"], strict=True):
        assert f"Give the variables SERENDIP_{name.upper()}__... on each machine" in opening.error
        assert "swordfish" not in opening.error


Run = Callable[[WorkspaceLocation], Any]


def open_replica(location: WorkspaceLocation) -> object:
    """A replica of a service, which needs Ray."""
    pytest.importorskip("ray.serve", reason="the extra ray-serve is not installed")
    from serendip.serve.ray_app import Replica

    return Replica(location, pytest.fail)


TASKS: dict[str, Run] = {
    "evaluate --alignment": lambda location: evaluate_group(
        GroupTask(location, "dataset", ("home",), 0)
    ),
    "embed": lambda location: encode_rows(EngineTask(location, "gen-1", 0.0)),
    "recommend --batch": lambda location: answer_users(
        EngineTask(location, "gen-1", 0.0, (Request(reasons=False), {}))
    ),
    "serve, at its start": WorkspaceLocation.open,
    "serve, a replica": open_replica,
}


def locate_elsewhere(folder: Path) -> WorkspaceLocation:
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
