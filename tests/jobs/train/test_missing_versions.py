"""With a storage, a training says which versions of the generation in force its machine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_shop import write_files

from serendip.engine.artefacts.generations import publish
from serendip.engine.workspace import Workspace
from serendip.jobs.train.missing_versions import warn_of_missing_versions

MADE_WITH: dict[str, Any] = {
    "semantic_ids": {"version": "v3"},
    "relevance_models": {"search": "v2"},
    "queries": {"by_source": {"fields": 9, "llm": 4}},
}


def _publish(folder: Path, storage: str, facts: dict[str, Any]) -> Workspace:
    write_files(folder)
    with (folder / "serendip.toml").open("a") as stream:
        stream.write(f'\n[storage]\nurl = "{storage}"\n')
    workspace = Workspace.open(folder)
    publish(workspace.generations, lambda building: None, facts)
    return workspace


def _warnings(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    warn_of_missing_versions(workspace)
    return "\n".join(record.getMessage() for record in caplog.records)


def test_folders_without_a_version_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = _publish(tmp_path / "shop", str(tmp_path / "storage"), MADE_WITH)
    text = _warnings(workspace, caplog)
    folders = [workspace.semantic_ids, workspace.relevance, workspace.queries]
    assert all(
        f"{folder} has no version, and gen-1 was made with one" in text for folder in folders
    )
    workspace.semantic_ids.mkdir()
    (workspace.semantic_ids / "current").write_text("v3\n")
    assert str(workspace.semantic_ids) not in _warnings(workspace, caplog)


def test_nothing_is_said_of_a_generation_without_versions_or_of_one_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {"semantic_ids": {"version": None}, "queries": {"by_source": {"fields": 9}}}
    assert not _warnings(_publish(tmp_path / "a", str(tmp_path / "storage"), plain), caplog)
    assert not _warnings(_publish(tmp_path / "b", "", MADE_WITH), caplog)
