"""Cuts the power at any moment: a disk that keeps only what was synced has all acknowledged writes.

The operations of ``workload`` are recorded once, call by call; the record is played on a
``simulated_disk``, which is cut off again and again: before and after every write, sync and rename.
What it kept is opened as after a restart and compared with what was acknowledged until then.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

from serendip.errors import SerendipError
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.reliability.forks import trial_folder
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.simulated_disk import SimulatedDisk
from serendip_bench.reliability.syscalls import SystemCall, read_calls, record
from serendip_bench.reliability.workload import (
    LEDGER,
    Contents,
    Operation,
    find_fault,
    list_operations,
    work,
)

_CONTROLS = {
    "commit": "SQLite with synchronous=NORMAL",
    "rename": "folders that are not synced after a rename",
    "write": "files of generations that are not synced",
}
_EVERY = 8
"""After so many cuts, work goes on with what is left."""


@dataclass(frozen=True, slots=True)
class PowerCuts:
    """Cuts of the power while the store and the generations are written.

    Args:
        cuts: number, spread evenly over the records.
        control_cuts: of each negative control.
        rounds: number of records, each of other operations.
        operations: of each record.
        seed: of operations and of what is kept.
        controls: names of the negative controls.
    """

    cuts: int = 2_000
    control_cuts: int = 100
    rounds: int = 10
    operations: int = 40
    seed: int = 0
    controls: Sequence[str] = tuple(_CONTROLS)

    def run(self, progress: Progress) -> Findings:
        """Record, cut, compare."""
        faults: list[str] = []
        controls: dict[str, list[str]] = {}
        for number in range(self.rounds):
            record = _Record(self.seed + number, self.operations)
            broken = () if number else self.controls
            with trial_folder() as folder:
                calls = record.make(folder, ("none", *broken))
                cuts = self.cuts // self.rounds
                faults += record.cut(calls, folder / "none", cuts, progress)
                for name in broken:
                    silent = SilentProgress()
                    controls[name] = record.cut(calls, folder / name, self.control_cuts, silent)
        found = [fault for fault in faults if fault]
        return Findings(
            {"cuts": len(faults), "operations": self.rounds * self.operations},
            (
                Bar("cuts after which something is lost, doubled or halved", len(found), 0),
                Bar("cuts", len(faults), self.cuts, "at least"),
            ),
            tuple(
                Control(_CONTROLS[name], sum(map(bool, lost))) for name, lost in controls.items()
            ),
            tuple(found[:3]),
        )


@dataclass(frozen=True, slots=True)
class _Record:
    seed: int
    operations: int

    def make(self, folder: Path, names: Sequence[str]) -> list[SystemCall]:
        """The calls of the product and of broken variants, each in a folder of its name."""
        for name in names:
            (folder / name).mkdir()
        module = "serendip_bench.reliability.workload"
        command = [sys.executable, "-m", module, str(folder), str(self.seed), str(self.operations)]
        record([*command, *names], folder / "trace")
        return list(read_calls(folder / "trace"))

    def cut(self, calls: list[SystemCall], root: Path, cuts: int, progress: Progress) -> list[str]:
        """For each cut a fault in words, or an empty text."""
        operations = list(islice(list_operations(self.seed), self.operations))
        states = list(accumulate(operations, Contents.after, initial=Contents()))
        places = _choose(sum(1 for _ in _play(calls, root)), cuts)
        rng, faults = random.Random(self.seed), []
        disks = (disk for place, disk in enumerate(_play(calls, root)) if place in places)
        for number, disk in enumerate(progress.track(disks, "power cuts", len(places))):
            done = disk.size(LEDGER) - 1
            coming = operations[done : done + 1] if number % _EVERY == 0 else []
            kept_by = rng if number % 2 else None
            faults.append(_find_fault(disk, kept_by, states[done : done + 2], coming))
        return faults


def _play(calls: list[SystemCall], root: Path) -> Iterator[SimulatedDisk]:
    """The disk after each call that changes it, once the database was acknowledged."""
    disk = SimulatedDisk(root)
    for call in calls:
        if disk.apply(call) and disk.size(LEDGER):
            yield disk


def _choose(number: int, most: int) -> set[int]:
    """Places, evenly spread."""
    return {place * number // most for place in range(most)} if number > most else {*range(number)}


def _find_fault(
    disk: SimulatedDisk,
    rng: random.Random | None,
    states: Sequence[Contents],
    coming: Sequence[Operation],
) -> str:
    """What is wrong after a cut, and after the coming operations; empty = nothing."""
    with trial_folder() as folder:
        disk.keep(folder, rng)
        _, fault = find_fault(folder, states)
        for operation in () if fault else coming:
            try:
                work(folder, iter([operation]), lambda _: None)
            except SerendipError as error:
                return f"after a cut, {operation.kind} fails: {error}"
            _, fault = find_fault(folder, states[1:])
    return fault
