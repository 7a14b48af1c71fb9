"""What a job is doing, in a file that other processes read: the page, or ``serendip status``.

A file that says "running" and is older than ``STALE_S`` belongs to a job that was killed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from serendip.errors import SerendipError
from serendip.runtime.progress import Progress, TextProgress

RUNNING, DONE, FAILED = "running", "done", "failed"
STALE_S = 60.0
_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """State of a job at a moment.

    Args:
        state: ``running``, ``done`` or ``failed``.
        text: the running step, or why the job failed.
        written: Unix seconds.
    """

    state: str
    text: str = ""
    written: float = field(default_factory=time.time)

    @classmethod
    def read(cls, path: Path, now: float | None = None) -> JobStatus | None:
        """Read a file; None if there is none, it is not readable, or its job was killed."""
        try:
            status = cls(**json.loads(path.read_text(encoding="utf-8")))
            is_stale = (time.time() if now is None else now) - status.written > STALE_S
        except (OSError, ValueError, TypeError):
            return None
        return None if status.state == RUNNING and is_stale else status

    def write(self, path: Path) -> None:
        """Replace a file in one step, without waiting for the disk.

        A file that cannot be written is left as it is: progress never stops a job.
        """
        part = path.with_name(path.name + ".part")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")
            part.replace(path)


@contextmanager
def written_status(path: Path) -> Iterator[Progress]:
    """Write what a job in a ``with`` block does, and how it ended: done, or failed and why.

    A job that is interrupted has not failed; its file is removed.

    Args:
        path: file of the ``JobStatus``, which is replaced every few seconds.

    Yields:
        the progress that is written.
    """
    told, ended = [""], threading.Event()

    def tell(text: str) -> None:
        told[0] = text
        JobStatus(RUNNING, text).write(path)

    def keep_fresh() -> None:
        while not ended.wait(STALE_S / 4):
            JobStatus(RUNNING, told[0]).write(path)

    tell("")
    keeper = threading.Thread(target=keep_fresh, daemon=True)
    keeper.start()
    status: JobStatus | None = JobStatus(DONE)
    try:
        yield TextProgress(tell, _EVERY_S)
    except Exception as error:
        named = f"{type(error).__name__}: {error}"
        status = JobStatus(FAILED, error.message if isinstance(error, SerendipError) else named)
        raise
    except BaseException:
        status = None
        raise
    finally:
        ended.set()
        keeper.join()
        if status is None:
            path.unlink(missing_ok=True)
        else:
            JobStatus(status.state, status.text).write(path)
