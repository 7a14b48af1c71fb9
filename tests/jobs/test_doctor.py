from pathlib import Path

from stored_files import damage_index

from serendip.data.store.sqlite import may_corrupt_log
from serendip.engine.workspace import Workspace
from serendip.jobs.doctor import check_workspace


def test_the_files_of_a_sound_workspace_pass(fresh: Path) -> None:
    checks = check_workspace(Workspace.open(fresh))
    assert (checks[0]["name"], checks[0]["status"]) == ("database integrity", "PASS")
    assert "catalogue" in [check["name"] for check in checks]

    checks = {check["name"]: check for check in check_workspace(Workspace.open(fresh))}
    assert checks["disk"]["message"].endswith("are free") == (checks["disk"]["status"] == "PASS")
    assert checks["SQLite"]["message"].startswith("SQLite 3.")
    assert checks["generation"]["message"] == "none is published yet"


def test_a_damaged_file_fails_its_check_with_the_place_and_the_next_step(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    damage_index(workspace.database)
    (check,) = check_workspace(workspace)
    assert (check["name"], check["status"]) == ("database integrity", "FAIL")
    assert "restore it from a backup" in check["message"]
    assert any("items_1" in example for example in check["examples"])


def test_a_damaged_generation_or_pointer_fails_its_check_and_a_sound_one_passes(shop: Path) -> None:
    workspace = Workspace.open(shop)
    checks = {check["name"]: check for check in check_workspace(workspace)}
    assert checks["generation"]["status"] == "PASS"
    assert checks["generation"]["total"] > 5
    (path,) = (shop / "generations").glob("gen-1/models/_numbers/0-counts.npy")
    path.write_bytes(path.read_bytes()[:-1])
    checks = {check["name"]: check for check in check_workspace(workspace)}
    assert checks["generation"]["status"] == "FAIL"
    assert "counts.npy is altered" in checks["generation"]["message"]

    (shop / "generations" / "CURRENT").write_bytes(b"")
    checks = {check["name"]: check for check in check_workspace(Workspace.open(shop))}
    assert checks["generation"]["status"] == "FAIL"
    assert "CURRENT has ''" in checks["generation"]["message"]


def test_versions_of_sqlite_that_can_corrupt_a_log_are_known() -> None:
    bad = [(3, 7, 0), (3, 44, 5), (3, 46, 1), (3, 50, 6), (3, 51, 2)]
    sound = [(3, 6, 23), (3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 4)]
    assert all(map(may_corrupt_log, bad)) and not any(map(may_corrupt_log, sound))
