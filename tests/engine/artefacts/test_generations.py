import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serendip.engine.artefacts.generations import (
    KEEP,
    current_name,
    open_current,
    open_earlier,
    publish,
    rollback,
    with_erased,
)
from serendip.errors import ArtefactError, NotTrainedError, StorageError
from serendip.runtime.versions import MANIFEST, compute_checksums, seal


def write(text: str):
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "data.txt").write_text(text)

    return fill


def names(generations: Path) -> list[str]:
    return sorted(path.name for path in generations.glob("gen-*"))


def test_rollback_returns_to_the_one_that_was_current_before_not_to_the_next_number(
    tmp_path: Path,
) -> None:
    publish(tmp_path, write("a"), {})
    publish(tmp_path, write("b"), {})
    assert rollback(tmp_path).name == "gen-1"
    assert publish(tmp_path, write("c"), {}).manifest["previous"] == "gen-1"
    assert rollback(tmp_path).name == "gen-1" == current_name(tmp_path)


def test_only_the_newest_generations_are_kept(tmp_path: Path) -> None:
    for text in "abcdef":
        publish(tmp_path, write(text), {})
    assert names(tmp_path) == ["gen-4", "gen-5", "gen-6"]
    assert len(names(tmp_path)) == KEEP


@pytest.mark.parametrize("lost", ["folder", "entry"])
def test_rollback_falls_back_to_the_highest_lower_number(tmp_path: Path, lost: str) -> None:
    publish(tmp_path, write("a"), {})
    publish(tmp_path, write("b"), {})
    rollback(tmp_path)
    folder = publish(tmp_path, write("c"), {}).folder
    if lost == "folder":
        shutil.rmtree(tmp_path / "gen-1")
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["previous"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    assert rollback(tmp_path).name == "gen-2"


def test_the_generation_that_rollback_goes_back_to_is_never_removed(tmp_path: Path) -> None:
    for text in "abc":
        publish(tmp_path, write(text), {})
    rollback(tmp_path)
    rollback(tmp_path)
    assert publish(tmp_path, write("d"), {}).manifest["previous"] == "gen-1"
    assert names(tmp_path) == ["gen-1", "gen-2", "gen-3", "gen-4"]
    assert rollback(tmp_path).name == "gen-1"


def damage(generations: Path, name: str, file: str = "sub/data.txt") -> None:
    path = generations / name / file
    path.write_bytes(b"?" + path.read_bytes()[1:])


DAMAGES = ["sub/data.txt", "manifest.json"]


@pytest.mark.parametrize("file", DAMAGES)
def test_open_earlier_opens_the_newest_undamaged_generation(tmp_path: Path, file: str) -> None:
    for text in "abc":
        publish(tmp_path, write(text), {})
    damage(tmp_path, "gen-3", file)
    assert open_earlier(tmp_path).name == "gen-2"
    damage(tmp_path, "gen-2", file)
    assert open_earlier(tmp_path).name == "gen-1"
    damage(tmp_path, "gen-1", file)
    with pytest.raises(ArtefactError, match="gen-2"):
        open_earlier(tmp_path)


def test_open_earlier_never_opens_one_that_was_rolled_back_from(tmp_path: Path) -> None:
    for text in "ab":
        publish(tmp_path, write(text), {})
    rollback(tmp_path)
    publish(tmp_path, write("c"), {})
    damage(tmp_path, "gen-3")
    assert open_earlier(tmp_path).name == "gen-1"


def break_pointer(generations: Path) -> None:
    (generations / "CURRENT").write_bytes(b"\xff")


def test_open_earlier_fails_for_the_first_generation_and_an_unreadable_pointer(
    tmp_path: Path,
) -> None:
    publish(tmp_path, write("a"), {})
    damage(tmp_path, "gen-1")
    with pytest.raises(NotTrainedError, match="gen-1 is the oldest"):
        open_earlier(tmp_path)
    publish(tmp_path, write("b"), {})
    break_pointer(tmp_path)
    with pytest.raises(
        ArtefactError, match=r"CURRENT has .*not the name of a version.*serendip rollback"
    ):
        open_earlier(tmp_path)


@pytest.mark.parametrize("file", DAMAGES)
def test_rollback_goes_from_a_damaged_generation_to_the_newest_undamaged_one(
    tmp_path: Path, file: str
) -> None:
    for text in "abc":
        publish(tmp_path, write(text), {})
    damage(tmp_path, "gen-3", file)
    damage(tmp_path, "gen-2", file)
    assert rollback(tmp_path).name == "gen-1" == open_current(tmp_path).name
    assert publish(tmp_path, write("d"), {}).name == "gen-4" == open_current(tmp_path).name


def test_rollback_and_the_next_publication_repair_an_unreadable_pointer(tmp_path: Path) -> None:
    for text in "ab":
        publish(tmp_path, write(text), {})
    for repair, name in (
        (rollback, "gen-2"),
        (lambda generations: publish(generations, write("c"), {}), "gen-3"),
    ):
        break_pointer(tmp_path)
        assert repair(tmp_path).name == name == open_current(tmp_path).name


@contextmanager
def publishing_elsewhere(generations: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of a publication; a line on its stdin lets it go on."""
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHING, os.fspath(generations)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


PUBLISHING = """
import sys
from pathlib import Path
from serendip.engine.artefacts.generations import publish

def fill(folder):
    (folder / "data.txt").write_text("other")
    print("writing", flush=True)
    sys.stdin.readline()
publish(Path(sys.argv[1]), fill, {})
"""


def test_a_concurrent_publication_or_rollback_fails_at_once_and_changes_nothing(
    tmp_path: Path,
) -> None:
    publish(tmp_path, write("a"), {})
    with publishing_elsewhere(tmp_path) as process:
        for change in (lambda: publish(tmp_path, write("b"), {}), lambda: rollback(tmp_path)):
            with pytest.raises(StorageError, match=r"another process is writing to .*Wait"):
                change()
        assert current_name(tmp_path) == "gen-1"
        process.communicate("go on\n", timeout=30)
        assert process.returncode == 0
    assert (open_current(tmp_path).folder / "data.txt").read_text() == "other"
    assert publish(tmp_path, write("b"), {}).name == "gen-3"


def write_array(*values: float):
    def fill(folder: Path) -> None:
        np.save(folder / "scales.npy", np.array([values], np.float32))

    return fill


def change(generation: Path, write: Callable[[Path], object]) -> None:
    """Write other files into a generation, with a manifest that says so."""
    write(generation)
    manifest = json.loads((generation / MANIFEST).read_text())
    (generation / MANIFEST).write_text(seal({**manifest, "files": compute_checksums(generation)}))


def test_a_value_that_is_no_number_is_not_published_and_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, write_array(1.0), {})
    with pytest.raises(ArtefactError, match=r"scales\.npy has NaN at \(0, 1\)") as refusal:
        publish(tmp_path, write_array(1.0, math.nan), {})
    assert refusal.value.message.startswith("the new generation is not published")
    assert refusal.value.hint.startswith("What was in force stays.")
    assert open_current(tmp_path).name == "gen-1"
    assert publish(tmp_path, write_array(2.0, math.inf), {}).name == "gen-2"


def test_a_value_that_is_no_number_is_refused_though_the_checksums_are_right(
    tmp_path: Path,
) -> None:
    for value in (1.0, 2.0, 3.0):
        publish(tmp_path, write_array(value), {})
    change(tmp_path / "gen-3", write_array(3.0, math.inf))
    assert open_current(tmp_path).name == "gen-3"
    for name in ("gen-2", "gen-3"):
        change(tmp_path / name, write_array(3.0, math.nan))
    with pytest.raises(ArtefactError, match=r"gen-3/scales\.npy has NaN.*rollback"):
        open_current(tmp_path)
    assert open_earlier(tmp_path).name == "gen-1"
    assert rollback(tmp_path).name == "gen-1"


KILLED = """
import os, signal, sys
from pathlib import Path
import serendip.engine.artefacts.generations as g

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


@pytest.mark.parametrize("stop", range(1, 11))
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


def test_a_generation_without_an_erased_user_ends_those_with_them(tmp_path: Path) -> None:
    publish(tmp_path, write("a"), {"event_removals": 0})
    publish(tmp_path, write("b"), {"event_removals": 1})
    assert with_erased(tmp_path, 2) == ["gen-1", "gen-2"]
    # Trained before the erasure and published after it: it ends nothing.
    publish(tmp_path, write("c"), {"event_removals": 1, "erased_at_removals": 0})
    assert with_erased(tmp_path, 2) == names(tmp_path) == ["gen-1", "gen-2", "gen-3"]
    assert rollback(tmp_path).name == "gen-2"
    publish(tmp_path, write("d"), {"event_removals": 2, "erased_at_removals": 2})
    assert (with_erased(tmp_path, 2), names(tmp_path)) == ([], ["gen-4"])
    with pytest.raises(NotTrainedError, match="gen-4 is the oldest"):
        rollback(tmp_path)


def test_no_rollback_leads_to_an_erased_user_though_the_folder_is_still_there(
    tmp_path: Path,
) -> None:
    """As after a crash between the publication and the removal, or a copy put back by hand."""
    publish(tmp_path, write("a"), {"event_removals": 0})
    kept = shutil.copytree(tmp_path / "gen-1", tmp_path.with_name("copy"))
    facts = {"event_removals": 1, "erased_at_removals": 1}
    publish(tmp_path, write("b"), facts)
    shutil.copytree(kept, tmp_path / "gen-1")
    with pytest.raises(NotTrainedError, match="gen-2 is the oldest"):
        rollback(tmp_path)
    (tmp_path / "gen-2" / "sub" / "data.txt").write_text("damaged")
    with pytest.raises(NotTrainedError):
        open_earlier(tmp_path)
    publish(tmp_path, write("c"), facts)
    assert names(tmp_path) == ["gen-2", "gen-3"]


def test_a_generation_of_unknown_data_ends_with_the_next_erasure(tmp_path: Path) -> None:
    publish(tmp_path, write("a"), {"event_removals": 5})
    (tmp_path / "gen-1" / "manifest.json").write_text("{}")
    assert with_erased(tmp_path, 1) == ["gen-1"]
    publish(tmp_path, write("b"), {"event_removals": 5, "erased_at_removals": 1})
    assert names(tmp_path) == ["gen-2"]
