"""Damages files of generations and of the event log: none is ever read as if it were whole.

A value that is no number is put into an array together with the right checksum of what it makes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from serendip.engine.artefacts.generations import open_current
from serendip.errors import SerendipError
from serendip.runtime.progress import Progress
from serendip.runtime.versions import MANIFEST, compute_checksums, seal
from serendip_bench.reliability.breakage import skip_array_checks, skip_checksums
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import copy_workspace
from serendip_bench.reliability.workload import GENERATIONS

Harm: TypeAlias = Callable[[list[bytes], random.Random], list[bytes]]
"""Contents of files -> other contents."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Flipped bits, cut files, files of others in place of the right ones, values that are NaN.

    Args:
        nans: number of values that are no number, with right checksums.
        control: number of flips, and of values, with variants that check nothing.
    """

    flips: int = 300
    cuts: int = 50
    exchanges: int = 50
    nans: int = 50
    control: int = 20
    seed: int = 0
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Damage, read, mend."""
        rng = random.Random(self.seed)
        kinds = [_flip] * self.flips + [_cut] * self.cuts + [_exchange] * self.exchanges
        with copy_workspace(self.workspace) as workspace:
            if not _find_fault(workspace):
                raise ValueError(f"{workspace} is refused while it is whole.")
            served = [
                fault
                for harm in progress.track(kinds, "damaged files", len(kinds))
                if (fault := _try(workspace, harm, rng))
            ] + [fault for _ in range(self.nans) if (fault := _try_nan(workspace, rng))]
            with skip_checksums():
                missed = [_try(workspace, _flip, rng) for _ in range(self.control)]
            with skip_array_checks():
                unseen = [_try_nan(workspace, rng) for _ in range(self.control)]
        return Findings(
            {"damaged files": len(kinds), "values that are no number": self.nans},
            (Bar("damaged files that are not refused by name", len(served), 0),),
            (
                Control("checksums are not compared", sum(map(bool, missed))),
                Control("arrays are not looked at", sum(map(bool, unseen))),
            ),
            tuple(served[:3]),
        )


def _try(workspace: Path, harm: Harm, rng: random.Random) -> str:
    chosen = rng.sample(_files(workspace), 2 if harm is _exchange else 1)
    with _mended(chosen) as before:
        after = harm(before, rng)
        _replace(chosen, after)
        fault = "" if before == after else _find_fault(workspace)
    names = ", ".join(str(path.relative_to(workspace)) for path in chosen)
    return f"{harm.__name__[1:]}: {names}: {fault}" if fault else ""


def _try_nan(workspace: Path, rng: random.Random) -> str:
    generation = open_current(workspace / GENERATIONS, verify=False)
    arrays = sorted(generation.folder.rglob("*.npy"))
    chosen = rng.choice([path for path in arrays if _has_floats(path)])
    with _mended([chosen, generation.folder / MANIFEST]):
        array = np.load(chosen)
        array.reshape(-1)[rng.randrange(array.size)] = np.nan
        chosen.unlink()  # it may be a hard link
        np.save(chosen, array)
        manifest = {**generation.manifest, "files": compute_checksums(generation.folder)}
        _replace([generation.folder / MANIFEST], [seal(manifest).encode()])
        fault = _find_fault(workspace)
    return f"NaN: {chosen.relative_to(workspace)}: {fault}" if fault else ""


def _has_floats(path: Path) -> bool:
    array = np.load(path, mmap_mode="r")
    return bool(array.dtype.kind == "f" and array.size)


@contextmanager
def _mended(paths: list[Path]) -> Iterator[list[bytes]]:
    """The contents of files, which they have again at the end."""
    before = [path.read_bytes() for path in paths]
    try:
        yield before
    finally:
        _replace(paths, before)


def _files(workspace: Path) -> list[Path]:
    paths = sorted(open_current(workspace / GENERATIONS, verify=False).folder.rglob("*"))
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


def _find_fault(workspace: Path) -> str:
    """What a damaged workspace leads to besides a refusal in words for people; empty = nothing."""
    try:
        open_current(workspace / GENERATIONS)
    except SerendipError:
        return ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no refusal
        return repr(error)
    return "it is read"
