"""The doctor on a database whose file is damaged."""

from __future__ import annotations

from pathlib import Path

from stored_files import damage_index

from serendip.engine.workspace import Workspace
from serendip.jobs.doctor import check_workspace


def test_the_files_of_a_sound_workspace_pass(fresh: Path) -> None:
    checks = check_workspace(Workspace.open(fresh))
    assert (checks[0]["name"], checks[0]["status"]) == ("database integrity", "PASS")
    assert (checks[1]["name"], checks[1]["status"]) == ("event log integrity", "PASS")
    assert "catalogue" in [check["name"] for check in checks]


def test_a_damaged_file_fails_its_check_with_the_place_and_the_next_step(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    damage_index(workspace.database)
    (check,) = check_workspace(workspace)
    assert (check["name"], check["status"]) == ("database integrity", "FAIL")
    assert "restore it from a backup" in check["message"]
    assert any("items_1" in example for example in check["examples"])


def test_a_damaged_segment_fails_its_check_with_its_name_and_the_next_step(fresh: Path) -> None:
    (path,) = (fresh / "log").glob("segment-*/times.npy")
    path.write_bytes(path.read_bytes()[:-1])
    *_, check = check_workspace(Workspace.open(fresh))
    assert (check["name"], check["status"]) == ("event log integrity", "FAIL")
    assert (
        f"{path.parent.name} of the event log is damaged: times.npy is altered" in check["message"]
    )
    assert "Restore the folder `log`" in check["message"]
