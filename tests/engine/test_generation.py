from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serendip.engine.generation import (
    KEEP,
    current_name,
    list_folders,
    open_current,
    open_generation,
    publish,
    rollback,
)
from serendip.errors import ArtefactError, NotTrainedError


def write(text: str):
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "data.txt").write_text(text)

    return fill


def test_publishing_makes_a_generation_current_with_checksums_and_facts(tmp_path: Path) -> None:
    generation = publish(tmp_path, write("a"), {"counts": {"items": 3}})
    assert generation.name == "gen-1" == current_name(tmp_path)
    manifest = json.loads((tmp_path / "gen-1" / "manifest.json").read_text())
    assert list(manifest["files"]) == ["sub/data.txt"]
    assert len(manifest["files"]["sub/data.txt"]) == 64
    assert manifest["counts"] == {"items": 3}
    assert open_current(tmp_path).manifest == manifest


def test_rollback_returns_to_the_generation_before(tmp_path: Path) -> None:
    for text in "abc":
        publish(tmp_path, write(text), {})
    assert rollback(tmp_path).name == "gen-2"
    assert rollback(tmp_path).name == "gen-1"
    with pytest.raises(NotTrainedError, match="gen-1 is the oldest"):
        rollback(tmp_path)


def test_a_generation_published_after_a_rollback_gets_a_new_number(tmp_path: Path) -> None:
    publish(tmp_path, write("a"), {})
    publish(tmp_path, write("b"), {})
    rollback(tmp_path)
    assert publish(tmp_path, write("c"), {}).name == "gen-3"
    assert current_name(tmp_path) == "gen-3"


def test_only_the_newest_generations_are_kept(tmp_path: Path) -> None:
    for text in "abcdef":
        publish(tmp_path, write(text), {})
    assert [path.name for path in list_folders(tmp_path)] == ["gen-4", "gen-5", "gen-6"]
    assert len(list_folders(tmp_path)) == KEEP


def test_nothing_published_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotTrainedError, match="serendip train"):
        open_current(tmp_path)


@pytest.mark.parametrize("damage", ["altered", "missing", "unknown"])
def test_a_damaged_generation_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    folder = publish(tmp_path, write("a"), {}).folder
    path = folder / "sub" / "data.txt"
    if damage == "altered":
        path.write_text("b")
    elif damage == "missing":
        path.unlink()
    else:
        path = folder / "sub" / "extra.txt"
        path.write_text("?")
    with pytest.raises(ArtefactError, match=f"{path.name} is {damage}"):
        open_generation(folder)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path, write("a"), {}).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ArtefactError, match="format 99"):
        open_generation(folder)


def test_a_failing_writer_leaves_the_old_generation_and_the_next_publication_cleans_up(
    tmp_path: Path,
) -> None:
    publish(tmp_path, write("a"), {})

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish(tmp_path, fail, {})
    assert open_current(tmp_path).name == "gen-1"
    publish(tmp_path, write("b"), {})
    assert open_current(tmp_path).name == "gen-2"
    assert not list(tmp_path.glob(".building-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
import serendip.engine.generation as g

real, calls, stop = os.fsync, [0], int(sys.argv[2])
def fsync(handle):
    calls[0] += 1
    if calls[0] == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
def fill(folder):
    (folder / "data.txt").write_text("new")
g.publish(Path(sys.argv[1]), fill, {})
"""


@pytest.mark.parametrize("stop", range(1, 8))
def test_kill_9_anywhere_in_publishing_leaves_exactly_the_old_or_the_new_generation(
    tmp_path: Path, stop: int
) -> None:
    publish(tmp_path, write("old"), {})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, os.fspath(tmp_path), str(stop)], check=False
    )
    assert done.returncode in (0, -signal.SIGKILL)
    current = open_current(tmp_path)
    expected = {"gen-1": ("sub/data.txt", "old"), "gen-2": ("data.txt", "new")}[current.name]
    assert (current.folder / expected[0]).read_text() == expected[1]
    assert current.name == "gen-2" or done.returncode == -signal.SIGKILL
    publish(tmp_path, write("next"), {})
    assert (open_current(tmp_path).folder / "sub" / "data.txt").read_text() == "next"
