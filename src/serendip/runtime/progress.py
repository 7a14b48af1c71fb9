"""Progress and other execution options, passed down from the caller; the library prints nothing.

``SilentProgress`` is the default everywhere. The CLI passes bars in a terminal and a line every ten
seconds elsewhere, on stderr. Options (seed, progress, device, executor) belong to a
run, the settings of a model are its config.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from serendip.runtime.budget import UNLIMITED, Allowance
from serendip.runtime.executor import IN_PROCESS, Executor

if TYPE_CHECKING:
    import rich.progress

T = TypeVar("T")
Note: TypeAlias = Callable[[], str]
Steps: TypeAlias = Iterator[Callable[[], None]]
# What a ``with`` block gets and calls after each part.
Shown: TypeAlias = AbstractContextManager[Callable[[], None]]
LINE_EVERY_S, _WRITTEN_EVERY_S = 10.0, 1.0


def empty_note() -> str:
    """The note of a loop without a note."""
    return ""


class Progress(ABC):
    """Shows the progress of loops and of other work; in another process it is silent."""

    def __reduce__(self) -> tuple[Any, ...]:
        return SilentProgress, ()

    @abstractmethod
    def show(self, description: str, total: int | None = None, note: Note = empty_note) -> Shown:
        """Show the work in a ``with`` block, which calls what it gets after each part.

        Without a total there are no parts; the note is asked for whenever the work is shown.
        """

    def track(
        self, items: Iterable[T], description: str, total: int | None, note: Note = empty_note
    ) -> Iterator[T]:
        """Yield ``items`` unchanged while showing how many of ``total`` are done; see ``show``."""
        with self.show(description, total, note) as advance:
            for item in items:
                yield item
                advance()

    def step(self, description: str) -> AbstractContextManager[object]:
        """Show the work in a ``with`` block."""
        return self.show(description)


class SilentProgress(Progress):
    """Shows nothing."""

    def show(self, description: str, total: int | None = None, note: Note = empty_note) -> Shown:
        """See ``Progress.show``."""
        return nullcontext(lambda: None)


class TextProgress(Progress):
    """Tells the innermost running step as text, at most once in some seconds.

    Args:
        every_s: seconds between two texts.
        first_s: seconds until the first text.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        every_s: float,
        now: Callable[[], float] = time.monotonic,
        first_s: float = 0.0,
    ) -> None:
        self._tell, self._every_s, self._now = tell, every_s, now
        self._due = now() + first_s

    @contextmanager
    def show(self, description: str, total: int | None = None, note: Note = empty_note) -> Steps:
        """See ``Progress.show``."""
        began, done = self._now(), 0

        def tell() -> None:
            of_total = "" if total is None else f": {done} of {total}"
            self._tell_if_due(f"{description}{of_total}", note, began)

        def advance() -> None:
            nonlocal done
            done += 1
            if done != total:
                tell()

        tell()
        yield advance

    def _tell_if_due(self, text: str, note: Note, began: float) -> None:
        if (now := self._now()) >= self._due:
            self._due = now + self._every_s
            minutes, seconds = divmod(round(now - began), 60)
            taken = f", {minutes}:{seconds:02} so far" if now >= began + 1 else ""
            self._tell(f"{text}{taken} {note()}".rstrip())


class BarProgress(Progress):
    """Draws the running steps in a terminal, on stderr, with the time left of loops."""

    def __init__(self) -> None:
        self._bars: rich.progress.Progress | None = None

    @contextmanager
    def show(self, description: str, total: int | None = None, note: Note = empty_note) -> Steps:
        """See ``Progress.show``."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        bars = self._bars
        if bars is None:
            bars = self._bars = Bars(
                *(TextColumn("{task.description}", markup=False), BarColumn(20)),
                *(TimeElapsedColumn(), TimeRemainingColumn()),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what is piped stays on stdout
            )
            bars.start()
        task = bars.add_task(description, total=total, note="")
        try:
            yield lambda: bars.update(task, advance=1, note=note())
        finally:
            bars.remove_task(task)
            if not bars.tasks:
                bars.stop()
                self._bars = None


@dataclass(frozen=True, slots=True)
class BothProgress(Progress):
    """Shows the same progress in two places."""

    first: Progress
    second: Progress

    @contextmanager
    def show(self, description: str, total: int | None = None, note: Note = empty_note) -> Steps:
        """See ``Progress.show``."""
        with (
            self.first.show(description, total, note) as first,
            self.second.show(description, total, note) as second,
        ):

            def advance() -> None:
                first()
                second()

            yield advance


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

    It is written once a second. A file that cannot be written is left as it is: progress never
    stops a job.
    """
    part = path.with_name(path.name + ".part")

    def tell(text: str) -> None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(JobStatus(text))), encoding="utf-8")
            part.replace(path)

    tell("")
    try:
        yield TextProgress(tell, _WRITTEN_EVERY_S)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def open_progress() -> Progress:
    """Progress of a command: bars if stderr is a terminal, lines otherwise."""
    if sys.stderr.isatty():
        return BarProgress()
    return TextProgress(_write_line, LINE_EVERY_S, first_s=2.0)


def _write_line(text: str) -> None:
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Execution options of a training.

    Args:
        seed: root of all randomness; the same seed on the same data gives the same numbers.
        device: torch device of the content encoders.
        allowance: time that the training may take; it then ends at its best point so far.
        executor: where parts that do not need each other run.
        shared: folder that all workers of the executor see, for files that tasks read; None = there
            is none, and parts whose data are too large to be sent run in this process.
    """

    seed: int = 0
    progress: Progress = field(default_factory=SilentProgress)
    device: str = "cpu"
    allowance: Allowance = UNLIMITED
    executor: Executor = IN_PROCESS
    shared: Path | None = None

    def inside(self, name: str, share: float = 1.0) -> TrainOptions:
        """Options of a part of a training: a share of the time."""
        return replace(self, allowance=self.allowance.from_now(share, name))


@dataclass(frozen=True, slots=True)
class StageCost:
    """Cost of a stage.

    Args:
        cpu_s: CPU seconds of this process and of children that have ended.
        peak_mb: peak resident memory of this process or of a child so far, in MB.
    """

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class StageClock:
    """Measures stages."""

    on_end: Callable[[StageCost], None] = lambda stage: None
    progress: Progress = field(default_factory=SilentProgress)
    stages: list[StageCost] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the body of a ``with`` block; a stage that fails is not recorded."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        with self.progress.step(name):
            yield
        stage = StageCost(
            name,
            round(time.perf_counter() - wall, 3),
            round(_cpu_seconds() - cpu, 3),
            round(peak_memory_mb(), 1),
        )
        self.stages.append(stage)
        self.on_end(stage)

    def as_dicts(self) -> list[dict[str, object]]:
        """The stages as dictionaries, for JSON."""
        return [asdict(stage) for stage in self.stages]


def peak_memory_mb() -> float:
    """Peak resident memory so far of this process or of one of its ended children."""
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(process, children) / 1024


def _cpu_seconds() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
