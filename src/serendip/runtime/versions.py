"""Versions of an artefact: numbered, immutable folders, one of which is current.

Layout::

    v2/...              files of the artefact
    v2/manifest.json    written last: name, code version, time, facts, SHA-256 of every file,
                        SHA-256 of itself
    current             one line, the name of the current version: the pointer

A version is written into a hidden folder, synced, given its manifest and renamed; then the pointer
is set to its name. After a crash at any point either the old version is current or the new one.
Hidden folders of an interrupted publication are removed by the next one. The caller holds the lock
of the folder (``atomic_files.exclusive_lock``), as only one process may change versions.
"""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.errors import ArtefactError
from serendip.runtime.atomic_files import flush_folder, flush_tree, hash_file, write_synced

MANIFEST = "manifest.json"
CHECKSUM = "checksum"  # the manifest's own, always last
# All other keys of a manifest are facts of the caller.
OWN_FACTS = ("format", "name", "code_version", "created", "files", CHECKSUM)
_HASHED_AT_ONCE = 2  # files; hashing does not hold the interpreter's lock
_UNSEALED = '""\n}'
_BUILDING, _REMOVING = ".building-", ".removing-"


def require_nothing() -> None:
    """The check of a publication that no lock of other machines guards."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Prefix and number: ``v2``."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions of an artefact.

    Args:
        repair: hint of the error about an unreadable version, one or two sentences.
        prefix: of their names, before the number.
        pointer: name of the file with the name of the current version.
        format: format number of manifests; None = they have none.
    """

    folder: Path
    repair: str
    prefix: str = "v"
    pointer: str = "current"
    format: int | None = None

    def publish(
        self,
        write: Callable[[Path], object],
        facts: Mapping[str, Any],
        hand_over: Callable[[Path, str], None] = lambda folder, name: None,
        taken: Iterable[str] = (),
    ) -> Version:
        """Write a version and make it current.

        Where ``hand_over``, which gets the complete folder and the name before the pointer is set,
        raises an error, everything is left as it was. ``taken`` names are of versions elsewhere.
        """
        for start in (_BUILDING, _REMOVING):
            for leftover in self.folder.glob(f"{start}*"):
                shutil.rmtree(leftover)
        name = self._take_name(taken)
        building = self.folder / f"{_BUILDING}{name}"
        building.mkdir()
        write(building)
        own: dict[str, Any] = {} if self.format is None else {"format": self.format}
        created = datetime.now(UTC).isoformat(timespec="seconds")
        own |= {"name": name, "code_version": __version__, "created": created}
        text = seal({**own, **facts, "files": compute_checksums(building)})
        write_synced(building / MANIFEST, text)
        flush_tree(building)
        building.rename(self.folder / name)
        flush_folder(self.folder)
        try:
            hand_over(self.folder / name, name)
        except BaseException:
            self.remove(name)
            raise
        self.make_current(name)
        return Version(self.folder / name, json.loads(text))

    def _take_name(self, taken: Iterable[str]) -> str:
        names = [*taken, *(path.name for path in self.folder.glob(f"{self.prefix}*"))]
        return f"{self.prefix}{max(map(self.number, names), default=0) + 1}"

    def make_current(self, name: str) -> None:
        """Set the pointer to a name, atomically."""
        temporary = self.folder / f".{self.pointer}.{secrets.token_hex(4)}.new"
        write_synced(temporary, name + "\n")
        temporary.replace(self.folder / self.pointer)
        flush_folder(self.folder)

    def current_name(self) -> str:
        """Name in the pointer; empty if there is none.

        Raises:
            ArtefactError: it has something else than the name of a version, or cannot be read.
        """
        path = self.folder / self.pointer
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ArtefactError(f"{path} is not readable: {error}.", self.repair) from None
        name = content.decode("ascii", "replace").strip()
        if not self.number(name):
            message = f"{path} has {name[:80]!r}, which is not the name of a version."
            raise ArtefactError(message, self.repair)
        return name

    def has_pointer(self) -> bool:
        """Whether there is a pointer, readable or not."""
        return (self.folder / self.pointer).exists()

    def current_since(self) -> float:
        """Unix seconds at which the pointer was set.

        Raises:
            FileNotFoundError: there is none.
        """
        return (self.folder / self.pointer).stat().st_mtime

    def readable_name(self) -> str:
        """Name in the pointer; empty if there is no pointer or it is unreadable."""
        try:
            return self.current_name()
        except ArtefactError:
            return ""

    def current(self, verify: bool = True) -> Version | None:
        """The current version; None if none was published.

        Raises:
            ArtefactError: see ``open``.
        """
        name = self.current_name()
        return self.open(name, verify) if name else None

    def open(self, name: str, verify: bool = True) -> Version:
        """Open a version and verify its files against its manifest.

        Raises:
            ArtefactError: its manifest is unreadable, altered or of another format, or a file is
                missing, altered, not listed, or on a part of the disk that cannot be read.
        """
        manifest, folder = self.read_manifest(name), self.folder / name
        if verify:
            self._compare(folder, manifest["files"])
        return Version(folder, manifest)

    def read_manifest(self, name: str) -> dict[str, Any]:
        """The manifest of a version, of which nothing else is opened.

        Raises:
            ArtefactError: it is missing, unreadable, altered or of another format.
        """
        path = self.folder / name / MANIFEST
        try:
            manifest = unseal(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{path} is not readable: {error}.", self.repair) from None
        format_number = None if self.format is None else manifest.get("format")
        if format_number != self.format:
            message = f"{path.parent} has format {format_number}, this code reads {self.format}."
            raise ArtefactError(message, self.repair)
        return manifest

    def names(self) -> list[str]:
        """Names of complete versions, oldest first."""
        folders = self.folder.glob(f"{self.prefix}*")
        complete = [path.name for path in folders if (path / MANIFEST).is_file()]
        return sorted(filter(self.number, complete), key=self.number)

    def number(self, name: str) -> int:
        """Number of a version, 2 for ``v2``; 0 if ``name`` is not the name of a version."""
        digits = name.removeprefix(self.prefix)
        is_number = digits != name and digits.isascii() and digits.isdecimal() and len(digits) < 19
        return int(digits) if is_number else 0

    def remove(self, name: str) -> None:
        """Remove a version."""
        # Renamed first: a partly deleted version must never look complete.
        hidden = (self.folder / name).rename(self.folder / f"{_REMOVING}{name}")
        flush_folder(self.folder)
        shutil.rmtree(hidden)

    def _compare(self, folder: Path, expected: Mapping[str, str]) -> None:
        try:
            actual = compute_checksums(folder)
        except OSError as error:
            if error.errno != errno.EIO:  # others, such as too many open files, may pass
                raise
            message = f"the disk cannot read a file of {folder}: {error}."
            raise ArtefactError(message, self.repair) from None
        for name in sorted(set(expected) | set(actual)):
            if expected.get(name) == actual.get(name):
                continue
            state = (
                "missing" if name not in actual else "altered" if name in expected else "unknown"
            )
            delete = f"Delete {folder / name} if it was put there by accident. "
            raise ArtefactError(
                f"files of {folder} are missing or altered: {name} is {state}, "
                f"expected {expected.get(name, 'no such file')}, "
                f"found {actual.get(name, 'nothing')}.",
                f"{delete if state == 'unknown' else ''}{self.repair}",
            )


def seal(manifest: Mapping[str, Any]) -> str:
    """Serialise a manifest and append the SHA-256 of its text as the last entry."""
    facts = {key: value for key, value in manifest.items() if key != CHECKSUM}
    text = json.dumps({**facts, CHECKSUM: ""}, indent=1, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text.removesuffix(_UNSEALED)}"{digest}"\n}}'


def unseal(text: bytes) -> dict[str, Any]:
    """Parse a manifest written by ``seal`` and verify its checksum.

    Raises:
        ValueError: the text is not a manifest, or was altered.
    """
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise ValueError("it is not a manifest")
        if CHECKSUM not in manifest:
            raise ValueError("it has no checksum, as an older version of this code wrote it")
        # An unaltered manifest is serialised to the same bytes again.
        if seal(manifest).encode() != text:
            raise ValueError("its checksum is wrong, so it was altered")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return manifest


def compute_checksums(folder: Path) -> dict[str, str]:
    """File -> SHA-256, for all files below a folder except its manifest.

    Files that are hard links to one another are read once, and several files at a time.
    """
    manifest = folder / MANIFEST
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != manifest]
    nodes = [(status.st_dev, status.st_ino) for status in map(Path.stat, paths)]
    distinct = dict(zip(nodes, paths, strict=True))
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        digests = dict(zip(distinct, pool.map(hash_file, distinct.values()), strict=True))
    return {
        path.relative_to(folder).as_posix(): digests[node]
        for path, node in zip(paths, nodes, strict=True)
    }
