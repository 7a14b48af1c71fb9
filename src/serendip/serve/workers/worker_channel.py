"""What a supervisor leaves a worker, and the channel between the two.

A worker reports through the channel that it is ready, or why it is not. The operating system closes
the channel when one of the two ends, however it ends, so each learns of the other's end from it.

That a worker neither ends nor goes on is seen by its heartbeat: a time in memory that both share,
so that neither ever waits for the other.
"""

from __future__ import annotations

import json
import mmap
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serendip.errors import (
    ArtefactError,
    ConfigError,
    ExtraMissing,
    NotTrainedError,
    SerendipError,
    StorageError,
)

_CAUSES = (ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError)
_READY: Final = b"ready\n"


class Heartbeat:
    """The time at which the event loop of a worker last went round, in memory shared by a fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)
        self._time = memoryview(self._memory).cast("d")

    def beat(self) -> None:
        """Say that the event loop goes on."""
        self._time[0] = time.monotonic()

    @property
    def last(self) -> float:
        """Seconds of the monotonic clock of all processes; 0 = the loop has not begun."""
        return self._time[0]

    def close(self) -> None:
        """Give the memory back."""
        self._time.release()
        self._memory.close()


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What one worker gets.

    Args:
        name: of the worker, unique in its service.
        folder: of the shared state.
        workers: number of workers of the service.
        listener: the listening socket, shared with all workers.
        channel: to the supervisor.
        heartbeat: that the supervisor looks at.
        is_late: whether to accept connections only once the engine is loaded, because other
            workers accept them.
    """

    name: str
    folder: Path
    workers: int
    listener: socket.socket
    channel: WorkerChannel
    heartbeat: Heartbeat
    is_late: bool


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker said last: that it is ready or has ended, or why it could not begin."""

    is_ready: bool = False
    has_ended: bool = False
    failure: SerendipError | None = None


class WorkerChannel:
    """The worker's end of the channel to its supervisor."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def report_ready(self) -> None:
        """Tell the supervisor that the engine answers."""
        self._send(_READY)

    def report_failure(self, error: SerendipError) -> None:
        """Tell the supervisor why the engine could not be loaded."""
        document = {"kind": error.kind, "message": error.message, "hint": error.hint}
        self._send(json.dumps(document).encode() + b"\n")

    def wait_for_end(self) -> None:
        """Return when the supervisor has ended."""
        while self._connection.recv(1):
            pass

    def close(self) -> None:
        """Close this end; to the supervisor the worker has ended."""
        self._connection.close()

    def _send(self, message: bytes) -> None:
        try:
            self._connection.sendall(message)
        except OSError:  # the supervisor has ended, which ``wait_for_end`` reports
            return


class SupervisorChannel:
    """The supervisor's end of the channel to a worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def fileno(self) -> int:
        """File descriptor; it can be read when the worker has reported something or ended."""
        return self._connection.fileno()

    def read(self) -> WorkerReport:
        """Read the next report; waits for one."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            return WorkerReport(has_ended=True)
        if line == _READY:
            return WorkerReport(is_ready=True)
        document = json.loads(line)
        kinds = {cause.kind: cause for cause in _CAUSES}
        cause = kinds.get(document["kind"], StorageError)
        return WorkerReport(failure=cause(document["message"], document["hint"]))

    def close(self) -> None:
        """Close this end; a worker that still runs ends."""
        self._lines.close()
        self._connection.close()


def open_channel() -> tuple[SupervisorChannel, WorkerChannel]:
    """The two ends of a new channel."""
    ours, theirs = socket.socketpair()
    return SupervisorChannel(ours), WorkerChannel(theirs)
