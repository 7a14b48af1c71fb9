"""What the workers of one service share: the version of the items, and the status of each worker.

The version is one number in shared memory: the highest item version that a write of any worker has
acknowledged. A worker whose engine is older reads the store before it answers, so a write of items
is in the next answer of every worker, and a request costs one look at the memory. Events need no
number: see ``engine.live.user_histories``.

The status of a worker is a small file that the worker replaces when something changes. Whichever
worker is asked for the state of the service reads all of them, so that all give the same answer.
One worker alone needs no files: its memory is that of the process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

_log = logging.getLogger(__name__)

COUNTERS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder of the counters of all workers."""

_VERSION_FILE = "version"
_STATUS = "status-{}.json"
_NUM_BYTES = 16


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The state of one worker, or of a whole service.

    Args:
        generation: name of the one that answers; empty = none is loaded yet. Of a service the one
            that all workers have reached: while they change, the earlier one.
        since: Unix seconds at which it began to answer.
        item_version: version of the items that its answers know, of a service the highest one.
        refused_generation: the published one that cannot be opened; empty = none.
        storage_problem: why a write would fail; empty = no known problem.
        failed_loads: number of failed attempts to open a generation, of the worker with the most.
        stats: statistics of the engine, of a service of that which has read the most changes.
        workers: number of workers that answer.
        missing: number of workers that should answer and do not.
    """

    generation: str = ""
    since: float = 0.0
    item_version: int = 0
    refused_generation: str = ""
    storage_problem: str = ""
    failed_loads: int = 0
    stats: Mapping[str, int | float | str] = field(default_factory=dict)
    workers: int = 1
    missing: int = 0

    @classmethod
    def of(cls, workers: Sequence[ServiceStatus], wanted: int) -> ServiceStatus:
        """Combine the statuses of the workers of a service that should have ``wanted``."""
        ready = [worker for worker in workers if worker.generation]
        return replace(
            max(ready, key=_num_changes, default=cls()),
            generation=min(ready, key=lambda worker: worker.since, default=cls()).generation,
            refused_generation=max((worker.refused_generation for worker in workers), default=""),
            storage_problem=max((worker.storage_problem for worker in workers), default=""),
            failed_loads=max((worker.failed_loads for worker in workers), default=0),
            workers=min(len(ready), wanted),
            missing=max(0, wanted - len(ready)),
        )

    @property
    def is_degraded(self) -> bool:
        """Whether a generation was refused, writes fail, or a worker is missing."""
        return bool(self.refused_generation or self.storage_problem or self.missing)


class SharedState:
    """The shared state of one service, as one of its workers sees it; thread-safe.

    Args:
        folder: of the service, the same for all workers; None = there is one worker.
        wanted: number of workers that the service should have.
        name: of this worker, unique in the folder.
    """

    def __init__(self, folder: Path | None = None, wanted: int = 1, name: str = "") -> None:
        self._folder, self._wanted, self._name = folder, wanted, name
        self._file = -1
        if folder is not None:
            self._file = os.open(folder / _VERSION_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(self._file, _NUM_BYTES)
        memory = memoryview(mmap.mmap(self._file, _NUM_BYTES))
        self._version, self._overloaded_at = memory[:8].cast("q"), memory[8:].cast("d")
        self._lock = threading.Lock()
        self._status = ServiceStatus()

    @property
    def acknowledged(self) -> int:
        """The highest item version of a write that any worker has acknowledged."""
        return self._version[0]

    def acknowledge(self, version: int) -> None:
        """Tell all workers that a write with this item version is acknowledged."""
        if version <= self._version[0]:
            return
        with self._lock:
            if self._folder is not None:  # the operating system unlocks it if this worker dies
                fcntl.flock(self._file, fcntl.LOCK_EX)
            self._version[0] = max(version, self._version[0])
            if self._folder is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def overloaded_at(self) -> float:
        """When a worker of the service was overloaded last, see ``waiting_room``."""
        return self._overloaded_at[0]

    @overloaded_at.setter
    def overloaded_at(self, now: float) -> None:
        self._overloaded_at[0] = now

    def publish(self, status: ServiceStatus) -> None:
        """Make the status of this worker known to all."""
        if self._folder is None or status == self._status:
            return
        path = self._folder / _STATUS.format(self._name)
        part = path.with_suffix(".part")
        try:
            part.write_text(json.dumps(asdict(status)), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            _log.warning("the status of this worker cannot be written: %s", error)
            return
        self._status = status

    def status(self, own: ServiceStatus) -> ServiceStatus:
        """The state of the service, from what its workers published last.

        Args:
            own: the status of this worker now, which counts if it is the only one.
        """
        workers = [own] if self._folder is None else _read_statuses(self._folder)
        return ServiceStatus.of(workers, self._wanted)


def remove_status(folder: Path, name: str) -> None:
    """Remove the status of a worker that has ended."""
    (folder / _STATUS.format(name)).unlink(missing_ok=True)


def _read_statuses(folder: Path) -> list[ServiceStatus]:
    statuses = list[ServiceStatus]()
    for path in sorted(folder.glob(_STATUS.format("*"))):
        try:
            statuses.append(ServiceStatus(**json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:  # the worker has ended in between
            continue
    return statuses


def _num_changes(worker: ServiceStatus) -> tuple[int, float]:
    return worker.item_version, float(worker.stats.get("events", 0))
