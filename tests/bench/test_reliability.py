import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from serendip.runtime.progress import SilentProgress
from serendip_bench.reliability import breakage
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.power_cuts import PowerCuts
from serendip_bench.reliability.publish_kills import PublishKills
from serendip_bench.reliability.simulated_disk import SimulatedDisk
from serendip_bench.reliability.syscalls import read_calls, record
from serendip_bench.reliability.writer_kills import WriterKills


def _can_trace() -> bool:
    """Whether strace is installed and this machine lets processes be traced."""
    if shutil.which("strace") is None:
        return False
    traced = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return traced.returncode == 0


NEEDS_STRACE = pytest.mark.skipif(not _can_trace(), reason="strace cannot trace a process here")


def kept(findings: Findings) -> Findings:
    assert findings.is_sound, findings.controls
    assert findings.is_kept, (findings.bars, findings.examples)
    return findings


def test_killed_writers_lose_and_halve_nothing() -> None:
    found = kept(WriterKills(kills=5, control_kills=6).run(SilentProgress()))
    assert found.counts["kills"] == 5


def test_killed_publications_leave_the_old_generation_or_the_new_one() -> None:
    found = kept(PublishKills(kills=24, control_kills=80, every=6).run(SilentProgress()))
    assert len(found.controls) == 2


@NEEDS_STRACE
def test_a_cut_of_the_power_loses_nothing_that_was_acknowledged() -> None:
    harness = PowerCuts(cuts=8, control_cuts=8, rounds=1, operations=10, seed=3)
    found = kept(harness.run(SilentProgress()))
    assert len(found.controls) == 3


WRITES = """
import os, sys
folder = sys.argv[1]

def write(name, text, sync):
    with open(f"{folder}/{name}", "wb") as stream:
        stream.write(text)
        stream.flush()
        if sync:
            os.fsync(stream.fileno())

def sync_folder():
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)

write("nameless", b"synced, but not its name", True)
write("kept", b"both", True)
write("empty", b"its name only", False)
os.unlink(f"{folder}/nameless")
sync_folder()
write("kept.part", b"the next one", True)
os.rename(f"{folder}/kept.part", f"{folder}/kept")
write("late", b"not its name", True)
"""


@NEEDS_STRACE
def test_the_simulated_disk_keeps_what_was_synced_and_no_more(tmp_path: Path) -> None:
    root, kept_in = tmp_path / "root", tmp_path / "kept"
    root.mkdir()
    record([sys.executable, "-c", WRITES, str(root)], tmp_path / "trace")
    disk = SimulatedDisk(root)
    for call in read_calls(tmp_path / "trace"):
        disk.apply(call)
    kept_in.mkdir()
    disk.keep(kept_in)
    left = {path.name: path.read_bytes() for path in kept_in.iterdir()}
    assert left == {"kept": b"both", "empty": b""}
    found = set()
    for seed in range(40):
        shutil.rmtree(kept_in)
        kept_in.mkdir()
        disk.keep(kept_in, random.Random(seed))
        found |= {(path.name, path.read_bytes()) for path in kept_in.iterdir()}
    assert found == {
        *(("kept", text) for text in (b"both", b"the next one")),
        *(("empty", text) for text in (b"", b"its name only")),
        ("kept.part", b"the next one"),
        ("late", b"not its name"),
    }


@pytest.mark.parametrize(
    ("found", "is_kept", "is_sound"),
    [(0, False, False), (1, True, True)],
)
def test_a_control_that_is_not_noticed_breaks_the_proof(found, is_kept, is_sound) -> None:
    findings = Findings({}, (Bar("lost", 0, 0),), (Control("broken", found),))
    assert (findings.is_kept, findings.is_sound) == (is_kept, is_sound)
    assert not Bar("answers", 9, 10, "at least").is_met


@pytest.mark.parametrize(
    "broken",
    [
        *breakage.BREAKAGES.values(),
        breakage.commit_each_event,
        breakage.acknowledge_before_commit,
        breakage.close_before_opening,
        breakage.skip_checksums,
        breakage.skip_array_checks,
        breakage.misread_full_disk,
        breakage.compute_everything,
        breakage.ignore_other_services,
        breakage.parse_anything,
    ],
)
def test_what_is_broken_on_purpose_takes_the_arguments_of_what_it_replaces(
    broken: Callable[[], AbstractContextManager[None]],
) -> None:
    with broken():
        pass
