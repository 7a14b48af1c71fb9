"""Work in short-lived processes that are killed.

A fork spares each of them the start of Python. They are forked from a server process that has
imported what they need and has no threads, whatever the process that asks for them has.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

MEMORY_DISK = Path("/dev/shm")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "serendip.cli.main",
        "serendip.engine.engine",
        "serendip.serve.app",
        "serendip.serve.server",
        "serendip.data.store.schema",
        "pyarrow.parquet",
    ]
)


@contextmanager
def trial_folder() -> Iterator[Path]:
    """A temporary folder, in memory where possible: a kill does not care what is on disk."""
    place = MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="serendip-trial-", dir=place) as name:
        yield Path(name)


def start(work: Callable[..., object], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Start work in a process of its own.

    Args:
        work: a function of a module, called with a handle to write bytes to, then the arguments.
        arguments: of the function.

    Returns:
        the process, and what reads the bytes; it ends when the process does.
    """
    reader, writer = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(writer, work, arguments))
    process.start()
    writer.close()
    return process, reader


def _work(writer: Connection, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    work(writer.fileno(), *arguments)


def run(work: Callable[..., object], *arguments: Any) -> int:
    """Run work in a process of its own until it ends.

    Args:
        work: as in ``start``; it may kill itself, and what it raises is printed.
        arguments: of the function.

    Returns:
        exit code; negative = the signal that ended it.
    """
    process, reader = start(work, *arguments)
    with closing(reader):
        return _wait(process)


def run_killed(
    work: Callable[..., object], arguments: tuple[Any, ...], marks: int, after_s: float
) -> tuple[int, int]:
    """Run work in a process of its own and kill it at a moment, unless it ended before.

    Args:
        work: as in ``start``; it writes a byte for each step.
        arguments: of the function.
        marks: kill it some time after that many bytes have come; 0 = after its start.
        after_s: that time, in seconds.

    Returns:
        exit code as in ``run``, and how many bytes came in all.
    """
    process, reader = start(work, *arguments)
    with closing(reader):
        count = _read_marks(reader.fileno(), marks)
        if not wait([process.sentinel], after_s):
            process.kill()
        code = _wait(process)
        return code, count + _read_marks(reader.fileno(), sys.maxsize)


def server_pid() -> int:
    """The process that all others are forked from."""
    process, reader = start(_write_parent)
    with closing(reader):
        text = os.read(reader.fileno(), 64)
        _wait(process)
    return int(text)


def _write_parent(out: int) -> None:
    os.write(out, str(os.getppid()).encode())


def _wait(process: BaseProcess) -> int:
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _read_marks(reader: int, most: int) -> int:
    """Read bytes until enough have come, or their writer has ended."""
    count = 0
    while count < most and (found := os.read(reader, 4096)):
        count += len(found)
    return count
