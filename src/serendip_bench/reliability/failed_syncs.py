"""Lets one sync of the database fail: from then on nobody acknowledges a write to it.

A process writes under ``strace``, which answers one of its syncs with an error of the disk and does
not carry it out. Another one, whose syncs all succeed, must refuse to write from that moment on,
also after the first has ended, until both have: only then may the next one write.

Usage: python -m serendip_bench.reliability.failed_syncs DATABASE
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.reliability.breakage import forget_disk_failures
from serendip_bench.reliability.forks import start, trial_folder
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import Breakage
from serendip_bench.reliability.syscalls import require_strace
from serendip_bench.reliability.workload import DATABASE

_MOST_WRITES, _SYNCS = 40, (4, 16)
"""Writes of the first process, and which of its syncs fails: of the first three SQLite passes over
that of the folder of its log."""

_AFTER = 3
"""Writes that each process tries after the failure."""


@dataclass(slots=True)
class _Tally:
    failures: int = 0
    by_the_first: int = 0
    by_others: int = 0
    not_again: int = 0


@dataclass(frozen=True, slots=True)
class FailedSyncs:
    """Errors of the disk at a sync.

    Args:
        failures: number.
        control_failures: of the negative control.
        seed: of the syncs that fail.
    """

    failures: int = 40
    control_failures: int = 4
    seed: int = 0

    def run(self, progress: Progress) -> Findings:
        """Let syncs fail and count what is acknowledged after them."""
        told = self._fail(self.failures, nullcontext, progress)
        broken = self._fail(self.control_failures, forget_disk_failures, SilentProgress())
        return Findings(
            {"failed syncs": told.failures},
            (
                Bar("writes that the same process acknowledged afterwards", told.by_the_first, 0),
                Bar("writes that others acknowledged afterwards", told.by_others, 0),
                Bar("databases that nobody could write to after a restart", told.not_again, 0),
                Bar("failed syncs", told.failures, self.failures, "at least"),
            ),
            (Control("others learn of no failure", broken.by_others),),
        )

    def _fail(self, failures: int, broken: Breakage, progress: Progress) -> _Tally:
        tally, rng = _Tally(), random.Random(self.seed)
        for _ in progress.track(range(failures), "failed syncs", failures):
            with trial_folder() as folder:
                _try(folder / DATABASE, rng.randint(*_SYNCS), broken, tally)
        return tally


def _try(path: Path, place: int, broken: Breakage, tally: _Tally) -> None:
    """Let one sync fail, the one at a place; then write from elsewhere, and after a restart."""
    Store.create(path).close()
    process, reader = start(_write_beside, path, place, broken)
    with closing(reader):
        said = os.read(reader.fileno(), 64).split()
        process.join()
    if not said:
        return
    tally.failures += 1
    tally.by_the_first += int(said[0])
    tally.by_others += int(said[1])
    with closing(Store.open(path)) as restarted:
        tally.not_again += _count_writes(restarted, "restarted") != _AFTER


def _write_beside(out: int, path: Path, place: int, broken: Breakage) -> None:
    """Write beside a process whose sync fails, and after it has ended; nothing if none failed.

    Writes the numbers of what that process and this one acknowledged afterwards.
    """
    with broken(), closing(Store.open(path)) as other:
        other.put_events([_event("before")])
        with _failing_writer(path, place) as writer:
            assert writer.stdout is not None
            said = writer.stdout.readline().split()
            if said[:1] != ["failed"]:
                return
            by_others = _count_writes(other, "beside")
        by_others += _count_writes(other, "later")
        with closing(Store.open(path)) as new:
            by_others += _count_writes(new, "new")
    os.write(out, f"{said[1]} {by_others}".encode())


@contextmanager
def _failing_writer(path: Path, place: int) -> Iterator[subprocess.Popen[str]]:
    """A process of which the sync at a place fails; it ends with the block."""
    inject = f"inject=fsync,fdatasync:error=EIO:when={place}"
    traced = ["-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync"]
    module = "serendip_bench.reliability.failed_syncs"
    command = [require_strace(), *traced, "-e", inject, sys.executable, "-m", module, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _count_writes(store: Store, name: str) -> int:
    """Number of writes that are acknowledged, of ``_AFTER``."""
    done = 0
    for number in range(_AFTER):
        try:
            done += store.put_events([_event(f"{name}{number}")])
        except StorageError:
            continue
    return done


def _event(name: str) -> Event:
    return Event("u", "a", 1.0, event_id=name)


def main() -> None:
    """Write until a sync fails, say how many writes were acknowledged afterwards, and wait."""
    with closing(Store.open(Path(sys.argv[1]))) as store:
        said = "never"
        for number in range(_MOST_WRITES):
            try:
                store.put_events([_event(f"first{number}")])
            except StorageError:
                said = f"failed {_count_writes(store, 'first-again')}"
                break
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
        sys.stdin.read()
    os._exit(0)  # as if killed: else it would wait until others have learned of the failure


if __name__ == "__main__":
    main()
