"""What a job is doing, in a file that ``serendip status`` reads while the job runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from serendip.runtime.progress import Progress, TextProgress

_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job that runs.

    Args:
        text: the running step; empty = it has said nothing yet.
        written: Unix seconds.
        state: always ``running``.
    """

    text: str = ""
    written: float = field(default_factory=time.time)
    state: str = "running"

    @classmethod
    def read(cls, path: Path) -> JobStatus:
        """Read what a job that runs said last; a file that is not readable says nothing."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()


@contextmanager
def written_status(path: Path) -> Iterator[Progress]:
    """Write what a job in a ``with`` block does into a file that goes with its end.

    A file that cannot be written is left as it is: progress never stops a job.

    Yields:
        the progress that is written, once a second.
    """
    part = path.with_name(path.name + ".part")

    def tell(text: str) -> None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(JobStatus(text))), encoding="utf-8")
            part.replace(path)

    tell("")
    try:
        yield TextProgress(tell, _EVERY_S)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
