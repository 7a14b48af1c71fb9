import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serendip.errors import ArtefactError
from serendip.runtime.versions import Versions

KINDS = {
    "plain": {"repair": "Build again."},
    "named": {"repair": "Train again.", "prefix": "gen-", "pointer": "CURRENT", "format": 1},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> Versions:
    return Versions(tmp_path, **request.param)


def write(text: str) -> Callable[[Path], None]:
    def fill(building: Path) -> None:
        (building / "sub").mkdir()
        (building / "sub" / "a.txt").write_text(text)

    return fill


def text_of(versions: Versions) -> str:
    current = versions.current()
    return (current.folder / "sub" / "a.txt").read_text()


@pytest.mark.parametrize("damage", ["altered", "missing", "unknown"])
def test_a_damaged_version_is_refused_by_name(versions: Versions, damage: str) -> None:
    version = versions.publish(write("a"), {})
    path = version.folder / "sub" / "a.txt"
    if damage == "altered":
        path.write_text("b")
    elif damage == "missing":
        path.unlink()
    else:
        path = path.with_name("extra.txt")
        path.write_text("?")
    told = f"missing or altered: sub/{path.name} is {damage}, .*{versions.repair}"
    with pytest.raises(ArtefactError, match=told):
        versions.current()
    assert versions.current(verify=False) == version


def test_any_flipped_bit_of_a_manifest_is_refused(versions: Versions) -> None:
    facts = {"settings": {"weight": 0.1, "path": "é", "on": True}, "item_version": 7}
    version = versions.publish(write("a"), facts)
    path = version.folder / "manifest.json"
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ArtefactError):
            versions.open(version.name, verify=False)
    path.write_bytes(whole)
    assert versions.open(version.name) == version


@pytest.mark.parametrize("said", [b"\xff\xfe", b"", b"../elsewhere\n", b"v1\0", b"v" + b"9" * 5000])
def test_a_pointer_that_names_no_version_is_refused(versions: Versions, said: bytes) -> None:
    versions.publish(write("a"), {})
    (versions.folder / versions.pointer).write_bytes(said)
    with pytest.raises(ArtefactError, match=f"{versions.pointer} has .*{versions.repair}"):
        versions.current()
    assert versions.readable_name() == ""
    assert versions.publish(write("b"), {}).name == f"{versions.prefix}2"
    assert text_of(versions) == "b"


def test_another_format_is_refused(tmp_path: Path) -> None:
    Versions(tmp_path, "Train.", format=1).publish(write("a"), {})
    with pytest.raises(ArtefactError, match="has format 1, this code reads 2"):
        Versions(tmp_path, "Train.", format=2).current()


def test_a_failing_writer_leaves_the_old_version_and_the_next_one_cleans_up(
    versions: Versions,
) -> None:
    versions.publish(write("a"), {})

    def fail(building: Path) -> None:
        write("half")(building)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        versions.publish(fail, {})
    assert text_of(versions) == "a"
    assert versions.publish(write("b"), {}).name == f"{versions.prefix}2"
    assert not list(versions.folder.glob(".building-*"))


def test_a_name_that_is_taken_meanwhile_leaves_the_pointer_where_it_was(versions: Versions) -> None:
    versions.publish(write("a"), {})
    taken = versions.folder / f"{versions.prefix}2"

    def fill(building: Path) -> None:
        write("c")(building)
        taken.mkdir()
        (taken / "theirs.txt").write_text("b")

    with pytest.raises(OSError, match=taken.name):
        versions.publish(fill, {})
    assert text_of(versions) == "a"
    assert (taken / "theirs.txt").read_text() == "b"


KILLED_REMOVING = """
import os, shutil, signal, sys
from pathlib import Path
from serendip.runtime.versions import Versions

def rmtree(folder):
    next(path for path in Path(folder).rglob("*.txt")).unlink()
    os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = rmtree
Versions(Path(sys.argv[1]), "Build again.").remove("v1")
"""


def test_kill_9_while_a_version_is_removed_leaves_only_whole_ones(tmp_path: Path) -> None:
    versions = Versions(tmp_path, "Build again.")
    for text in "ab":
        versions.publish(write(text), {})
    command = [sys.executable, "-c", KILLED_REMOVING, os.fspath(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert versions.names() == ["v2"]
    versions.publish(write("c"), {})
    assert not list(tmp_path.glob(".*-v*"))
