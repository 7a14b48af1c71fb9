"""Work in short-lived processes that are killed; a fork spares each the start of Python."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_DISK = Path("/dev/shm")

_FAILED = 70


@contextmanager
def trial_folder() -> Iterator[Path]:
    """A temporary folder, in memory where possible: a kill does not care what is on disk."""
    place = MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="serendip-trial-", dir=place) as name:
        yield Path(name)


def run(work: Callable[[], object]) -> int:
    """Run work in a child process.

    Args:
        work: may kill itself; whatever it raises is printed.

    Returns:
        exit code; negative = the signal that ended it.
    """
    return _wait(_begin(work))


def run_killed(work: Callable[[int], object], marks: int, after_s: float) -> tuple[int, int]:
    """Run work in a child process and kill it at a moment, unless it ended before.

    Args:
        work: called with a handle into which it writes a byte for each step.
        marks: kill it some time after that many bytes have come; 0 = after its start.
        after_s: that time, in seconds.

    Returns:
        exit code as in ``run``, and how many bytes came in all.
    """
    reader, writer = os.pipe()
    child = _begin(lambda: work(writer))
    os.close(writer)
    process = os.pidfd_open(child)
    try:
        count = _read_marks(reader, marks)
        if not select.select([process], [], [], after_s)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        code = _wait(child)
        return code, count + _read_marks(reader, sys.maxsize)
    finally:
        os.close(process)
        os.close(reader)


def _begin(work: Callable[[], object]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = _FAILED
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent may go on in the child
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _read_marks(reader: int, most: int) -> int:
    """Read bytes until enough have come, or their writer has ended."""
    count = 0
    while count < most and (found := os.read(reader, 4096)):
        count += len(found)
    return count
