"""Fills the disk under a running service: writes get 507, reads go on, and nothing is lost.

The disk is one in memory, which takes the right to mount it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serendip.data.store.store import Store
from serendip.errors import UnsupportedError
from serendip.runtime.progress import Progress
from serendip_bench.reliability.breakage import misread_full_disk
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import copy_workspace, find_workspace, run_forked
from serendip_bench.reliability.workload import DATABASE
from serendip_bench.service import HttpClient, Reply

_ROOM = 16 << 20
"""Bytes of the disk besides the workspace."""

_BATCH = 200
_REST_S = 2.0
"""With room, before the disk fills up: the service looks after its disk once a second."""

_PATIENCE_S = 30.0
_ITEM = "/v1/items/posted"
_READS = ("/v1/recommend?user_id=full", "/v1/search?q=a", "/health/ready", _ITEM)


@dataclass(slots=True)
class _Course:
    acknowledged: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    failed_reads: list[str] = field(default_factory=list)
    seconds_to_recover: float = _PATIENCE_S
    lost: int = 0

    def note_write(self, reply: Reply) -> None:
        if reply.status == 507 and reply.json()["error"]["type"] == "storage_full":
            self.refused += 1
        else:
            self.wrong.append(f"{reply.status}: {reply.body[:200]!r}")

    @property
    def faults(self) -> int:
        is_stuck = self.seconds_to_recover >= _PATIENCE_S
        return len(self.wrong) + len(self.failed_reads) + self.lost + is_stuck


@dataclass(frozen=True, slots=True)
class FullDisk:
    """A disk without room, several times.

    Args:
        rounds: number of times that it is filled.
        writes: tried while it is full, each time.
    """

    rounds: int = 5
    writes: int = 20
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Fill, try, free."""
        files = find_workspace(self.workspace).rglob("*")
        room = _ROOM + sum(path.stat().st_size for path in files if path.is_file())
        with mount_memory(room) as disk, copy_workspace(self.workspace, disk) as workspace:
            told = _Course()
            with run_forked(workspace) as service:
                for number in progress.track(range(self.rounds), "full disks", self.rounds):
                    self._fill(service.netloc, disk, f"r{number}", told)
            told.lost = told.acknowledged - _count(workspace)
        with mount_memory(room) as disk, copy_workspace(self.workspace, disk) as workspace:
            broken = _Course()
            with run_forked(workspace, misread_full_disk) as service:
                self._fill(service.netloc, disk, "c", broken)
        return Findings(
            {
                "rounds": self.rounds,
                "acknowledged events": told.acknowledged,
                "writes refused with 507": told.refused,
                "reads while full": told.reads,
            },
            (
                Bar("acknowledged events that are lost", told.lost, 0),
                Bar("writes answered with something else than 507", len(told.wrong), 0),
                Bar("reads that failed while full", len(told.failed_reads), 0),
                Bar("seconds until writes go on", round(told.seconds_to_recover, 1), 5.0),
            ),
            (Control("a full disk is taken for a broken one", broken.faults),),
            tuple((told.wrong + told.failed_reads)[:3]),
        )

    def _fill(self, netloc: str, disk: Path, name: str, course: _Course) -> None:
        with closing(HttpClient(netloc)) as client:
            client.post("/v1/items", {"item_id": "posted", "title": "Deleted in a moment"})
            course.acknowledged += _post(client, f"{name}-before", course)
            threading.Event().wait(_REST_S)
            ballast = fill(disk)
            for number in range(self.writes):
                course.note_write(client.post("/v1/events", _rows(f"{name}-{number}")))
                for path in _READS:
                    course.reads += 1
                    if (reply := client.ask("GET", path)).status != 200:
                        course.failed_reads.append(f"{path}: {reply.status}")
            ballast.unlink()
            begin = time.perf_counter()
            course.seconds_to_recover = _await_write(client, f"{name}-after", begin)
            course.acknowledged += _BATCH if course.seconds_to_recover < _PATIENCE_S else 0


def _rows(name: str) -> list[dict[str, str]]:
    return [
        {"user_id": "full", "item_id": "posted", "event_id": f"{name}-{place}"}
        for place in range(_BATCH)
    ]


def _post(client: HttpClient, name: str, course: _Course) -> int:
    reply = client.post("/v1/events", _rows(name))
    if reply.status != 200:
        course.wrong.append(f"with room: {reply.status}")
        return 0
    return _BATCH


def _await_write(client: HttpClient, name: str, begin: float) -> float:
    """Seconds until a write succeeds again."""
    pause = threading.Event()
    while time.perf_counter() - begin < _PATIENCE_S:
        if client.post("/v1/events", _rows(name)).status == 200:
            return time.perf_counter() - begin
        pause.wait(0.1)
    return _PATIENCE_S


def _count(workspace: Path) -> int:
    with closing(Store.open(workspace / DATABASE)) as store:
        return len(store.log.history("full", 10**9))


@contextmanager
def mount_memory(size: int) -> Iterator[Path]:
    """A file system of a size in bytes.

    Raises:
        UnsupportedError: none may be mounted here.
    """
    with tempfile.TemporaryDirectory(prefix="serendip-disk-") as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnsupportedError("no file system may be mounted here.", "Run it as root.")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte on a disk; the file that takes them."""
    path, size = folder / "ballast", 1 << 16
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while size:
            try:
                written = os.write(handle, bytes(size))
            except OSError:
                written = 0
            if written < size:
                size //= 2
    finally:
        os.close(handle)
    return path
