"""A generation: an immutable folder of artefacts, published by one atomic step.

Layout of a workspace's ``generations/``::

    gen-7/manifest.json    written last: format, code version, data cut, counts, gates, SHA-256s
    gen-7/...              the artefacts
    CURRENT                one line, the name of the published generation

Publishing writes into a hidden folder, flushes every file, writes the manifest, renames the
folder, and only then replaces ``CURRENT``. A crash at any point leaves exactly the old or exactly
the new generation published; leftovers are hidden folders that the next publication removes.
One process at a time publishes or rolls back: it holds the lock of ``.lock``, which the operating
system gives back when the process ends, however it ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.data.durable import (
    MANIFEST,
    alone,
    checksums,
    flush_folder,
    point_to,
    pointed_at,
    publish_folder,
)
from serendip.errors import ArtefactError, NotTrainedError

FORMAT = 1
POINTER = "CURRENT"
KEEP = 3

_BUILDING, _REMOVING = ".building-", ".removing-"


@dataclass(frozen=True, slots=True)
class Generation:
    """One published or publishable folder.

    Args:
        folder: where its files are.
        manifest: what its ``manifest.json`` says.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``gen-<n>``."""
        return self.folder.name


def publish(
    generations: Path, write: Callable[[Path], None], facts: Mapping[str, Any]
) -> Generation:
    """Write, check in and make current a new generation.

    Args:
        generations: the workspace's folder of generations (created).
        write: fills an empty folder with artefacts.
        facts: what the manifest tells beside the checksums: data cut, counts, gates.

    Raises:
        StorageError: another process publishes or rolls back there now.
    """
    with alone(generations):
        _remove_leftovers(generations)
        newest = max((number(path.name) for path in list_folders(generations)), default=0)
        name = f"gen-{newest + 1}"
        building = generations / f"{_BUILDING}{name}"
        building.mkdir()
        write(building)
        told = {
            "format": FORMAT,
            "name": name,
            "code_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous": current_name(generations),
            **facts,
        }
        manifest = publish_folder(building, name, generations / POINTER, told)
        generation = Generation(generations / name, manifest)
        _remove_old(generations, generation)
    return generation


def rollback(generations: Path) -> Generation:
    """Make the generation that was current before the current one current again.

    Raises:
        NotTrainedError: there is none before it.
        StorageError: another process publishes or rolls back there now.
    """
    with alone(generations):
        current = open_current(generations, verify=False)
        name = _name_before(current, [path.name for path in list_folders(generations)])
        if not name:
            raise NotTrainedError(
                f"{current.name} is the oldest generation in {generations}.",
                "Train again to publish a newer one.",
            )
        target = open_generation(generations / name)
        point_to(generations / POINTER, name)
    return target


def open_current(generations: Path, verify: bool = True) -> Generation:
    """The published generation.

    Raises:
        NotTrainedError: none is published.
        ArtefactError: see ``open_generation``.
    """
    name = current_name(generations)
    if not name:
        raise NotTrainedError(
            f"no generation is published in {generations}.", "Run `serendip train` first."
        )
    return open_generation(generations / name, verify)


def open_generation(folder: Path, verify: bool = True) -> Generation:
    """Read a generation and check every file against its manifest.

    Raises:
        ArtefactError: the manifest is unreadable or newer than this code, or a file is missing,
            altered or not listed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version = manifest["format"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{folder / MANIFEST} is not readable: {error}.") from None
    if version != FORMAT:
        raise ArtefactError(
            f"{folder} has format {version}, this code reads {FORMAT}.", "Run `serendip train`."
        )
    if verify:
        _verify(folder, manifest["files"])
    return Generation(folder, manifest)


def current_name(generations: Path) -> str:
    """Name of the published generation; empty where none is."""
    return pointed_at(generations / POINTER)


def list_folders(generations: Path) -> list[Path]:
    """Folders of complete generations, oldest first."""
    found = [path for path in generations.glob("gen-*") if (path / MANIFEST).is_file()]
    return sorted(found, key=lambda path: number(path.name))


def number(name: str) -> int:
    """7 of ``gen-7``; 0 for anything else."""
    digits = name.removeprefix("gen-")
    return int(digits) if digits.isdigit() else 0


def _verify(folder: Path, expected: Mapping[str, str]) -> None:
    found = checksums(folder)
    for name in sorted(set(expected) | set(found)):
        if expected.get(name) != found.get(name):
            state = "missing" if name not in found else "altered" if name in expected else "unknown"
            raise ArtefactError(
                f"{folder / name} is {state}: expected {expected.get(name, 'no such file')}, "
                f"found {found.get(name, 'nothing')}.",
                "Run `serendip rollback`, or train again.",
            )


def _name_before(current: Generation, names: list[str]) -> str:
    """The generation to go back to, of those that are left; empty where there is none."""
    older = [name for name in names if number(name) < number(current.name)]
    previous = str(current.manifest.get("previous", ""))
    return previous if previous in older else max(older, key=number, default="")


def _remove_old(generations: Path, current: Generation) -> None:
    """Remove all but the newest ones, the current one and the one that rollback goes back to."""
    folders = list_folders(generations)
    kept = {current.name, _name_before(current, [path.name for path in folders])}
    for path in folders[:-KEEP]:
        if path.name not in kept:
            # Out of the list in one step: half a generation must never look like a whole one.
            hidden = path.rename(generations / f"{_REMOVING}{path.name}")
            flush_folder(generations)
            shutil.rmtree(hidden)


def _remove_leftovers(generations: Path) -> None:
    for start in (_BUILDING, _REMOVING):
        for leftover in generations.glob(f"{start}*"):
            shutil.rmtree(leftover)
