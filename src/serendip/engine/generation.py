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

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.errors import ArtefactError, NotTrainedError, StorageError

FORMAT = 1
MANIFEST = "manifest.json"
POINTER = "CURRENT"
LOCK = ".lock"
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
    with _alone(generations):
        _remove_leftovers(generations)
        newest = max((number(path.name) for path in list_folders(generations)), default=0)
        name = f"gen-{newest + 1}"
        building = generations / f"{_BUILDING}{name}"
        building.mkdir()
        write(building)
        manifest = {
            "format": FORMAT,
            "name": name,
            "code_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous": current_name(generations),
            **facts,
            "files": _checksums(building),
        }
        _write_durably(building / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False))
        _flush_tree(building)
        building.rename(generations / name)
        _flush_folder(generations)
        _point_to(generations, name)
        generation = Generation(generations / name, manifest)
        _remove_old(generations, generation)
    return generation


def rollback(generations: Path) -> Generation:
    """Make the generation that was current before the current one current again.

    Raises:
        NotTrainedError: there is none before it.
        StorageError: another process publishes or rolls back there now.
    """
    with _alone(generations):
        current = open_current(generations, verify=False)
        name = _name_before(current, [path.name for path in list_folders(generations)])
        if not name:
            raise NotTrainedError(
                f"{current.name} is the oldest generation in {generations}.",
                "Train again to publish a newer one.",
            )
        target = open_generation(generations / name)
        _point_to(generations, name)
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
    try:
        return (generations / POINTER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def list_folders(generations: Path) -> list[Path]:
    """Folders of complete generations, oldest first."""
    found = [path for path in generations.glob("gen-*") if (path / MANIFEST).is_file()]
    return sorted(found, key=lambda path: number(path.name))


def number(name: str) -> int:
    """7 of ``gen-7``; 0 for anything else."""
    digits = name.removeprefix("gen-")
    return int(digits) if digits.isdigit() else 0


def _verify(folder: Path, expected: Mapping[str, str]) -> None:
    found = _checksums(folder)
    for name in sorted(set(expected) | set(found)):
        if expected.get(name) != found.get(name):
            state = "missing" if name not in found else "altered" if name in expected else "unknown"
            raise ArtefactError(
                f"{folder / name} is {state}: expected {expected.get(name, 'no such file')}, "
                f"found {found.get(name, 'nothing')}.",
                "Run `serendip rollback`, or train again.",
            )


def _checksums(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _point_to(generations: Path, name: str) -> None:
    temporary = generations / f".{POINTER}.new"
    _write_durably(temporary, name + "\n")
    temporary.replace(generations / POINTER)
    _flush_folder(generations)


@contextmanager
def _alone(generations: Path) -> Iterator[None]:
    """Keep every other process from changing the folder meanwhile."""
    generations.mkdir(parents=True, exist_ok=True)
    handle = os.open(generations / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another process is publishing in {generations}.",
                "Wait until it has ended, then try again.",
            ) from None
        yield
    finally:
        os.close(handle)


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
            _flush_folder(generations)
            shutil.rmtree(hidden)


def _remove_leftovers(generations: Path) -> None:
    for start in (_BUILDING, _REMOVING):
        for leftover in generations.glob(f"{start}*"):
            shutil.rmtree(leftover)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _flush_folder(path)


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
