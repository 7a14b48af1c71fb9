"""The seat of a worker: what it inherits from its supervisor, and the channel between the two.

A supervisor starts each worker as a process of its own, which shares no threads, locks or
connections with it, and leaves it the listening socket, a channel and a few facts. They are in one
environment variable, which a worker removes when it takes its seat.

A worker reports through the channel that it is ready, or why it is not. The operating system closes
the channel when one of the two ends, however it ends, so each learns of the other's end from it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

VARIABLE: Final = "SERENDIP_WORKER"

_CAUSES = (ArtefactError, ConfigError, ExtraMissing, NotTrainedError, StorageError)
_READY: Final = b"ready\n"


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """What one worker inherits.

    Args:
        name: of the worker, unique in its service.
        folder: of the shared state.
        workers: number of workers of the service.
        listener: file descriptor of the listening socket.
        channel: file descriptor of the channel to the supervisor.
        is_late: whether to accept connections only once the engine is loaded, because other
            workers accept them.
    """

    name: str
    folder: str
    workers: int
    listener: int
    channel: int
    is_late: bool

    @classmethod
    def take(cls) -> WorkerSeat | None:
        """The seat of this process; None if no supervisor started it."""
        facts = os.environ.pop(VARIABLE, None)
        return None if facts is None else cls(**json.loads(facts))

    def environment(self) -> Mapping[str, str]:
        """Environment of the process that takes the seat."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}

    @property
    def shared_folder(self) -> Path:
        """Folder of the shared state."""
        return Path(self.folder)

    def open_listener(self) -> socket.socket:
        """The listening socket, shared with all workers."""
        return socket.socket(fileno=self.listener)

    def open_channel(self) -> WorkerChannel:
        """The worker's end of the channel."""
        return WorkerChannel(socket.socket(fileno=self.channel))


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

    def _send(self, message: bytes) -> None:
        try:
            self._connection.sendall(message)
        except OSError:  # the supervisor has ended, which ``wait_for_end`` reports
            return


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker said last.

    Args:
        is_ready: its engine answers.
        has_ended: it runs no more.
        failure: why it could not begin.
    """

    is_ready: bool = False
    has_ended: bool = False
    failure: SerendipError | None = None


class SupervisorChannel:
    """The supervisor's end of the channel to a worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    @classmethod
    def open_pair(cls) -> tuple[SupervisorChannel, socket.socket]:
        """The two ends of a new channel: the supervisor's, and the one that a worker inherits."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

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
