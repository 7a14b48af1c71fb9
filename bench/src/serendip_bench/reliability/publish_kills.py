"""Kills a publication at every step: the old generation is in force, or the new one, and is whole.

A child process publishes a tiny generation, or rolls back, and kills itself with SIGKILL before its
n-th call that opens, syncs, renames, links or removes a file, for every n until it gets through;
others are killed from outside at random moments. Then what is published is opened with all
checksums, again with a pointer that cannot be read, and the next publication must work and remove
what was left behind. Of one that says that it is done, the new generation must be in force.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serendip.engine.artefacts.generations import current_name, open_current, publish, rollback
from serendip.errors import SerendipError
from serendip.runtime.progress import Progress, SilentProgress
from serendip.runtime.versions import Version
from serendip_bench.reliability.forks import run, run_killed, trial_folder
from serendip_bench.reliability.harness import Bar, Control, Findings

_STEPS = {
    *("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.listdir"),
    *("os.scandir", "os.truncate"),
}
_NEVER = 1_000_000
"""A step that no change has."""
_LONGEST_S = 0.02
_BEFORE = 3
"""Generations before the publication; the oldest is removed by it."""


@dataclass(frozen=True, slots=True)
class PublishKills:
    """SIGKILL of a publication or a rollback.

    Args:
        every: only the first of so many steps is tried.
    """

    kills: int = 3_072
    control_kills: int = 100
    every: int = 1
    seed: int = 0

    def run(self, progress: Progress) -> Findings:
        """Kill, look, publish again."""
        with trial_folder() as folder:
            told = _Trials(folder, self.seed, self.every, _CHANGES)
            told.run(self.kills, progress)
        return Findings(
            {"kills": told.kills, "steps of a publication": told.steps, "publications": told.whole},
            (
                Bar("bad states", len(told.faults), 0),
                Bar("kills", told.kills, self.kills, "at least"),
            ),
            tuple(Control(name, self._count_faults(changes)) for name, changes in _BROKEN.items()),
            tuple(told.faults[:3]),
        )

    def _count_faults(self, changes: tuple[_Change, ...]) -> int:
        """Faults that are found in broken changes: none, or the first."""
        with trial_folder() as folder:
            trials = _Trials(folder, self.seed, self.every, changes)
            trials.run(self.control_kills, SilentProgress(), most_faults=1)
            return len(trials.faults)


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of what is in force."""

    make: Callable[[Path], object]
    result: str


class _Trials:
    """Kills and what they led to.

    Args:
        every: only the first of so many steps is tried.
    """

    def __init__(self, folder: Path, seed: int, every: int, changes: tuple[_Change, ...]) -> None:
        self._folder, self._rng, self._changes = folder, random.Random(seed), changes
        self._every = every
        self.kills = self.whole = self.steps = 0
        self.faults: list[str] = []

    def run(self, kills: int, progress: Progress, most_faults: float = math.inf) -> None:
        template = self._folder / "template"
        for number in range(_BEFORE):
            publish(template, partial(_fill, number), {})
        track = iter(progress.track(range(kills), "publish kills", kills))
        for change, step in self._plan():
            next(track, None)
            if self.kills >= kills or len(self.faults) >= most_faults:
                break
            self._kill_once(template, change, step)
        next(track, None)

    def _plan(self) -> Iterator[tuple[_Change, int]]:
        """What to do, and the step to be killed before; 0 = at a random moment.

        At first each is done once without a kill.
        """
        for change in self._changes:
            yield change, _NEVER
        while True:
            for change in self._changes:
                whole, step = self.whole, 1
                while self.whole == whole:  # until one gets through
                    yield change, step
                    yield change, 0
                    step += self._every
                self.steps = max(self.steps, step - self._every - 1)

    def _kill_once(self, template: Path, change: _Change, step: int) -> None:
        folder = Path(shutil.copytree(template, self._folder / "trial", symlinks=True))
        if step:
            code = run(_die_before, step, folder, change.make)
        else:
            after_s = self._rng.uniform(0, _LONGEST_S)
            code = run_killed(_do, (change.make, folder), 0, after_s)[0]
        if code == -signal.SIGKILL:
            self.kills += 1
        elif step and code == 0:
            self.whole += 1
        undone = "" if code else _find_difference(folder, change.result)
        ended = f"it ended with code {code}" if code > 0 else ""
        if fault := undone or _find_fault(folder) or ended:
            when = f"killed before step {step or '?'}" if code < 0 else "not killed"
            self.faults.append(f"{when}: {fault}")
        shutil.rmtree(folder)


def _do(out: int, change: Callable[[Path], object], folder: Path) -> None:
    change(folder)


def _die_before(out: int, step: int, folder: Path, change: Callable[[Path], object]) -> None:
    """Do something, and die before a step of it."""
    left, sync = iter(range(step - 1)), os.fsync

    def count() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS and str(folder) in str(arguments[0]):
            count()

    def sync_or_die(handle: int) -> None:
        count()
        sync(handle)

    os.fsync = sync_or_die  # type: ignore[assignment]
    sys.addaudithook(watch)
    change(folder)


def _fill(number: int, folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "number.txt").write_text(str(number))
    (folder / "large.bin").write_bytes(bytes(65_536))


def _publish(folder: Path) -> None:
    publish(folder, partial(_fill, _BEFORE), {})


def _publish_too_early(folder: Path) -> None:
    """The mistake of the negative controls."""

    def fill(building: Path) -> None:
        (folder / "CURRENT").write_text(f"gen-{_BEFORE + 1}\n")
        _fill(_BEFORE, building)

    publish(folder, fill, {})


def _do_nothing(folder: Path) -> None:
    """The mistake of another one: it opens what is there, and says that it is done."""
    open_current(folder)


_ROLLBACK = _Change(rollback, f"gen-{_BEFORE - 1}")
_CHANGES = _Change(_publish, f"gen-{_BEFORE + 1}"), _ROLLBACK
_BROKEN = {
    "CURRENT is set before the files are written": (
        *(_Change(_publish_too_early, f"gen-{_BEFORE + 1}"), _ROLLBACK),
    ),
    "a rollback does nothing": (_Change(_do_nothing, _ROLLBACK.result),),
}


def _find_difference(folder: Path, result: str) -> str:
    """What is in force instead of what a change that is done should have led to; empty = that."""
    name = current_name(folder)
    return "" if name == result else f"{name} is in force instead of {result}"


def _find_fault(folder: Path) -> str:
    """What is wrong after a kill; empty = nothing."""
    try:
        if fault := _find_mixture(folder):
            return fault
        name = publish(folder, partial(_fill, _number(open_current(folder)) + 1), {}).name
        if name != current_name(folder):
            return f"{name} was published and is not in force"
    except (SerendipError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    left = [path.name for path in folder.glob(".*-gen-*")]
    return f"{left[0]} is left" if left else ""


def _find_mixture(folder: Path) -> str:
    """Whether the generation in force has the files of another one; empty = it has its own."""
    current = open_current(folder)
    number = _number(current)
    is_own = current.name == f"gen-{number + 1}"
    return "" if is_own else f"{current.name} has the files of number {number}"


def _number(generation: Version) -> int:
    return int((generation.folder / "part" / "number.txt").read_text())
