"""Damages files of generations and of the event log: none is ever read as if it were whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from serendip.data.events.event import Event
from serendip.data.store.store import LOG_FOLDER, Store
from serendip.engine.artefacts.generations import open_current
from serendip.errors import SerendipError
from serendip.runtime.progress import Progress
from serendip_bench.reliability.breakage import skip_checksums
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import copy_workspace
from serendip_bench.reliability.workload import DATABASE, GENERATIONS

_EVENTS = 200

Harm: TypeAlias = Callable[[list[bytes], random.Random], list[bytes]]
"""Contents of files -> other contents."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Flipped bits, cut files and files of others in place of the right ones.

    Args:
        flips: number of flipped bits.
        cuts: number of files that are cut off somewhere.
        exchanges: number of pairs of files that are exchanged.
        control: number of flips with a variant that checks nothing.
        seed: of places.
        workspace: see ``copy_workspace``.
    """

    flips: int = 300
    cuts: int = 50
    exchanges: int = 50
    control: int = 20
    seed: int = 0
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Damage, read, mend."""
        rng = random.Random(self.seed)
        kinds = [_flip] * self.flips + [_cut] * self.cuts + [_exchange] * self.exchanges
        with copy_workspace(self.workspace) as workspace:
            _add_segment(workspace)
            if reason := _refusal(workspace):
                raise ValueError(f"the workspace is refused while it is whole: {reason}")
            served = [
                fault
                for harm in progress.track(kinds, "damaged files", len(kinds))
                if (fault := _try(workspace, harm, rng))
            ]
            with skip_checksums():
                missed = [_try(workspace, _flip, rng) for _ in range(self.control)]
        return Findings(
            {"damaged files": len(kinds)},
            (Bar("damaged files that are read", len(served), 0),),
            (Control("checksums are not compared", sum(map(bool, missed))),),
            tuple(served[:3]),
        )


def _add_segment(workspace: Path) -> None:
    """Give the log a segment, and open the whole workspace."""
    with closing(Store.open(workspace / DATABASE)) as store:
        store.put_events(Event(f"u{number % 9}", "x", float(number)) for number in range(_EVENTS))
        store.compact()


def _try(workspace: Path, harm: Harm, rng: random.Random) -> str:
    """Damage files, and name them if nobody notices; they are mended afterwards."""
    chosen = rng.sample(_files(workspace), 2 if harm is _exchange else 1)
    before = [path.read_bytes() for path in chosen]
    after = harm(before, rng)
    _replace(chosen, after)
    try:
        is_noticed = before == after or _refusal(workspace)
    finally:
        _replace(chosen, before)
    names = ", ".join(str(path.relative_to(workspace)) for path in chosen)
    return "" if is_noticed else f"{harm.__name__[1:]}: {names}"


def _files(workspace: Path) -> list[Path]:
    """Files of the published generation and of the segments."""
    folders = (open_current(workspace / GENERATIONS, verify=False).folder, workspace / LOG_FOLDER)
    paths = (path for folder in folders for path in sorted(folder.rglob("*")))
    return [path for path in paths if path.is_file() and path.stat().st_size]


def _replace(paths: list[Path], contents: list[bytes]) -> None:
    for path, content in zip(paths, contents, strict=True):
        path.unlink()  # it may be a hard link
        path.write_bytes(content)


def _flip(contents: list[bytes], rng: random.Random) -> list[bytes]:
    changed = bytearray(contents[0])
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return [bytes(changed)]


def _cut(contents: list[bytes], rng: random.Random) -> list[bytes]:
    return [contents[0][: rng.randrange(len(contents[0]))]]


def _exchange(contents: list[bytes], rng: random.Random) -> list[bytes]:
    return contents[::-1]


def _refusal(workspace: Path) -> str:
    """Why a workspace is refused; empty = it is read."""
    try:
        open_current(workspace / GENERATIONS)
        with closing(Store.open(workspace / DATABASE)) as store:
            store.verify_log()
    except (SerendipError, OSError, ValueError) as error:
        return str(error)
    return ""
