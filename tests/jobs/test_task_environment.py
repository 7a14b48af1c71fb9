"""Tasks in another environment than their command's are refused, but for users and passwords."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from small_shop import write_files

from serendip.engine.config.settings import Settings
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
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


def test_a_task_whose_environment_leads_to_another_database_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = [locate(monkeypatch, folder, told) for told in (PRIVATE, {})]
    own = {**PRIVATE, DATABASE: f"{PRIVATE[DATABASE]}2"}
    found = run_elsewhere(monkeypatch, locations, own)
    for opening in found:
        assert "[store] of a task on" in opening.error
