from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serendip.data.durable import (
    alone,
    checksums,
    point_to,
    pointed_at,
    publish_folder,
    write_durably,
)
from serendip.errors import StorageError


def test_a_pointer_says_the_last_name(tmp_path: Path) -> None:
    pointer = tmp_path / "current"
    assert pointed_at(pointer) == ""
    for name in ("v1", "v2"):
        point_to(pointer, name)
        assert pointed_at(pointer) == name
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with alone(folder), pytest.raises(StorageError, match="another process"), alone(folder):
        pass
    with alone(folder):
        pass


def test_checksums_see_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_durably(tmp_path / "a" / "b.txt", "one")
    write_durably(tmp_path / "manifest.json", "{}")
    before = checksums(tmp_path)
    assert list(before) == ["a/b.txt"]
    write_durably(tmp_path / "a" / "b.txt", "two")
    assert checksums(tmp_path) != before


def test_a_published_folder_is_complete_when_the_pointer_says_its_name(tmp_path: Path) -> None:
    building = tmp_path / ".building-v1"
    building.mkdir()
    (building / "a.txt").write_text("one")
    manifest = publish_folder(building, "v1", tmp_path / "current", {"name": "v1"})
    assert pointed_at(tmp_path / "current") == "v1"
    assert not building.exists()
    assert json.loads((tmp_path / "v1" / "manifest.json").read_text()) == manifest
    assert manifest == {"name": "v1", "files": checksums(tmp_path / "v1")}


def test_a_name_that_is_taken_leaves_the_pointer_where_it_was(tmp_path: Path) -> None:
    pointer = tmp_path / "current"
    for name in ("v1", "v2"):
        building = tmp_path / f".building-{name}"
        building.mkdir()
        (building / "a.txt").write_text(name)
        publish_folder(building, name, pointer, {})
    building = tmp_path / ".building-v1"
    building.mkdir()
    with pytest.raises(OSError, match="v1"):
        publish_folder(building, "v1", pointer, {})
    assert pointed_at(pointer) == "v2"
    assert (tmp_path / "v1" / "a.txt").read_text() == "v1"


PUBLISH_UNTIL = """
import os, sys
from pathlib import Path
from serendip.data.durable import publish_folder

calls = iter(range(int(sys.argv[1])))

def die(event, args):
    if event == "open" and str(args[0]) == sys.argv[3] and args[2] & (os.O_WRONLY | os.O_RDWR):
        os._exit(8)  # Half a pointer could be read.
    if event in {"open", "os.rename"} and next(calls, None) is None:
        os._exit(9)

sys.addaudithook(die)
publish_folder(Path(sys.argv[2]), "v2", Path(sys.argv[3]), {})
os._exit(0)
"""


def published_until(step: int, building: Path, pointer: Path) -> bool:
    """Publish v2 in a process that dies at its ``step``-th call to the file system."""
    command = [sys.executable, "-c", PUBLISH_UNTIL, str(step), str(building), str(pointer)]
    code = subprocess.run(command, check=False).returncode
    assert code in {0, 9}
    return code == 0


def test_a_crash_leaves_the_pointer_at_a_complete_folder(tmp_path: Path) -> None:
    said = []
    for step in range(100):
        folder = tmp_path / str(step)
        pointer = folder / "current"
        for name in ("v1", "v2"):
            building = folder / f".building-{name}"
            building.mkdir(parents=True)
            (building / "a.txt").write_text(name)
            if name == "v1":
                publish_folder(building, name, pointer, {})
        is_whole = published_until(step, building, pointer)
        said.append(pointed_at(pointer))
        manifest = json.loads((folder / said[-1] / "manifest.json").read_text())
        assert manifest["files"] == checksums(folder / said[-1])
        assert (folder / said[-1] / "a.txt").read_text() == said[-1]
        if is_whole:
            break
    assert is_whole
    assert said[0] == "v1"
    assert said == sorted(said)
    assert len(said) > 5
