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
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from serendip.errors import (
    ArtefactError,
    ConfigError,
    ExtraMissing,
    NotTrainedError,
    SerendipError,
    StorageError,
)

_CAUSES = (ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError)


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
    channel: Connection
    heartbeat: Heartbeat
    is_late: bool


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker said last: that it is ready or has ended, or why it could not begin."""

    is_ready: bool = False
    has_ended: bool = False
    failure: SerendipError | None = None


def report_ready(channel: Connection) -> None:
    """Tell the supervisor that the engine answers."""
    _send(channel, {})


def report_failure(channel: Connection, error: SerendipError) -> None:
    """Tell the supervisor why the engine could not be loaded."""
    _send(channel, {"kind": error.kind, "message": error.message, "hint": error.hint})


def wait_for_end(channel: Connection) -> None:
    """Return when the process at the other end has ended."""
    with suppress(EOFError, OSError):
        channel.recv_bytes()


def read_report(channel: Connection) -> WorkerReport:
    """Read the next report of a worker; waits for one."""
    try:
        document = json.loads(channel.recv_bytes())
    except (EOFError, OSError):
        return WorkerReport(has_ended=True)
    if not document:
        return WorkerReport(is_ready=True)
    cause = {cause.kind: cause for cause in _CAUSES}.get(document["kind"], StorageError)
    return WorkerReport(failure=cause(document["message"], document["hint"]))


def _send(channel: Connection, document: dict[str, str]) -> None:
    with suppress(OSError):  # the supervisor has ended, which ``wait_for_end`` reports
        channel.send_bytes(json.dumps(document).encode())
