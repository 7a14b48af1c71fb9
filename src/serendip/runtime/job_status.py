"""How far a job is, in a file that other processes read: the page, or the job's parent.

The file is replaced every second while the job runs. A file that says "running" and is older than
``STALE_S`` belongs to a job that was killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serendip.errors import SerendipError
from serendip.runtime.progress_steps import Step, StepProgress, estimate_left

RUNNING, DONE, FAILED = "running", "done", "failed"
STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """State of a job at a moment.

    Args:
        state: ``running``, ``done`` or ``failed``.
        share: part of the work that is done, in [0, 1].
        left_s: estimated seconds left; None = unknown.
        text: name of the running step, or why the job failed.
        written: Unix seconds.
    """

    state: str
    share: float = 0.0
    left_s: float | None = None
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


class FileProgress(StepProgress):
    """Writes the share of a whole job to a file, every second.

    Args:
        path: file of the ``JobStatus``.
        plan: (name of a step, its expected share of the job's time, on any scale), in order.
            The share of a planned step is that of the innermost running step inside it. Without
            a plan the share is that of the outermost step.
        now: the clock, in seconds.
        wake_s: as in ``StepProgress``.
    """

    def __init__(
        self,
        path: Path,
        plan: Sequence[tuple[str, float]] = (),
        now: Callable[[], float] = time.monotonic,
        wake_s: float | None = 1.0,
    ) -> None:
        super().__init__(now, wake_s)
        self._path, self._plan = path, tuple(plan)
        self._left = list(plan)
        self._open: dict[Step, float] = {}
        self._done = 0.0
        self._share = 0.0
        self._began = self._written = now()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a job that has not begun."""
        return type(self), (self._path, self._plan)

    def begin(self, step: Step) -> None:
        """A planned step uses its first entry in the plan that is left."""
        for place, (name, weight) in enumerate(self._left):
            if name == step.name:
                self._open[step] = weight
                del self._left[place]
                break
        if len(self._steps) == 1:
            self._write()

    def end(self, step: Step) -> None:
        """A planned step is done."""
        self._done += self._open.pop(step, 0.0)

    def tick(self) -> None:
        """Write the share, at most once a second."""
        with self._lock:
            if self._steps and self._now() - self._written >= 1.0:
                self._write()

    @contextmanager
    def job(self) -> Iterator[None]:
        """Write how the job in a ``with`` block ended: done, failed and why, or no file at all.

        A job that is interrupted has not failed; its file is removed.
        """
        try:
            yield
        except Exception as error:
            JobStatus(FAILED, self._share, text=_reason(error)).write(self._path)
            raise
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        JobStatus(DONE, 1.0, 0.0).write(self._path)

    def _write(self) -> None:
        self._written = now = self._now()
        self._share = max(self._share, self._compute_share())
        left = estimate_left(now - self._began, self._share)
        name = self._steps[-1].name
        JobStatus(RUNNING, self._share, left, name).write(self._path)

    def _compute_share(self) -> float:
        """Share of the whole plan that is done."""
        if not self._plan:
            return next((share for each in self._steps if (share := each.share) is not None), 0.0)
        total = sum(weight for _, weight in self._plan)
        done = self._done
        for step, weight in self._open.items():
            inside = self._steps[self._steps.index(step) :]
            shares = [share for each in inside if (share := each.share) is not None]
            done += weight * (shares[-1] if shares else 0.0)
        return min(done / total, 1.0)


def _reason(error: Exception) -> str:
    """Why a job failed, in words for people."""
    if isinstance(error, SerendipError):
        return error.message
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class PartsStatus:
    """Jobs in processes of their own that are parts of one job.

    Args:
        paths: file of each.
    """

    paths: Sequence[Path]

    def share(self) -> float | None:
        """Share of all parts together, each as much work as the others."""
        statuses = [JobStatus.read(path) for path in self.paths]
        return sum(status.share for status in statuses if status) / max(len(statuses), 1)

    def note(self) -> str:
        """What the running parts are doing."""
        statuses = [JobStatus.read(path) for path in self.paths]
        running = [status.text for status in statuses if status and status.state == RUNNING]
        return f"({'; '.join(running)})" if running else ""
