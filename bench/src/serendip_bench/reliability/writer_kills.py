"""Kills a writer with SIGKILL at random moments: nothing acknowledged is lost, nothing is halved.

A child process does the operations of ``workload`` one after the other and writes a byte into a
pipe after each: the ledger of what is acknowledged. It is killed, the workspace is compared with
what the ledger says, and the next child goes on. A kill leaves what the system has taken, whether
or not it is on disk: what a cut of the power leaves is the matter of ``power_cuts``.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serendip.data.store.store import Store
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.reliability.forks import run_killed, trial_folder
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.workload import (
    DATABASE,
    Contents,
    find_fault,
    list_operations,
    work,
)

_MOST_OPERATIONS, _MOST_S = 12, 0.02
"""A child is killed after so many operations at most, and so many seconds of the next ones."""

_KILLS_OF_ONE = 40
"""Kills of one workspace, before another one begins empty."""


@dataclass(slots=True)
class _Tally:
    kills: int = 0
    acknowledged: int = 0
    faults: int = 0
    example: str = ""

    def add_fault(self, text: str) -> None:
        self.faults += 1
        self.example = self.example or text


@dataclass(frozen=True, slots=True)
class WriterKills:
    """SIGKILL of a process that writes to the store and publishes generations."""

    kills: int = 1_000
    control_kills: int = 60
    seed: int = 0

    def run(self, progress: Progress) -> Findings:
        """Kill, compare, go on."""
        told = _kill(self.kills, self.seed, False, progress)
        control = _kill(self.control_kills, self.seed, True, SilentProgress())
        return Findings(
            {"kills": told.kills, "acknowledged operations": told.acknowledged},
            (
                Bar("workspaces that lost, doubled or halved something", told.faults, 0),
                Bar(
                    "acknowledged operations per kill",
                    told.acknowledged / self.kills,
                    1,
                    "at least",
                ),
            ),
            (Control("a writer that acknowledges before it commits", control.faults),),
            (told.example,) if told.example else (),
        )


def _kill(kills: int, seed: int, early: bool, progress: Progress) -> _Tally:
    tally, rng = _Tally(), random.Random(seed)
    rounds = [
        range(first, min(first + _KILLS_OF_ONE, kills)) for first in range(0, kills, _KILLS_OF_ONE)
    ]
    left = iter(progress.track(range(kills), "writer kills", kills))
    for number, trials in enumerate(rounds):
        with trial_folder() as folder:
            Store.create(folder / DATABASE).close()
            site = _Site(folder, seed * 1_000 + number, early)
            for _ in trials:
                next(left, None)
                marks, after_s = rng.randint(0, _MOST_OPERATIONS), rng.uniform(0, _MOST_S)
                if fault := site.kill_once(marks, after_s, tally):
                    tally.add_fault(fault)
                    break
    return tally


class _Site:
    def __init__(self, folder: Path, seed: int, early: bool) -> None:
        self._folder, self._seed, self._early = folder, seed, early
        self._operations = list_operations(seed)
        self._running = next(self._operations)
        self._expected = Contents()

    def kill_once(self, marks: int, after_s: float, tally: _Tally) -> str:
        """Let a child write until it is killed; a fault in words, empty = none."""
        arguments = (self._folder, self._seed, self._running.number, self._early)
        code, acknowledged = run_killed(_write, arguments, marks, after_s)
        tally.kills += 1
        if code >= 0:
            return f"the writer ended by itself with code {code}"
        tally.acknowledged += acknowledged
        for _ in range(acknowledged):
            self._go_on()
        state, fault = find_fault(
            self._folder, (self._expected, self._expected.after(self._running))
        )
        if state == 1:
            self._go_on()
        return fault

    def _go_on(self) -> None:
        self._expected = self._expected.after(self._running)
        self._running = next(self._operations)


def _write(ledger: int, folder: Path, seed: int, first: int, early: bool) -> None:
    operations = islice(list_operations(seed), first, None)
    work(folder, operations, lambda _: os.write(ledger, b"."), early)
