"""Numbered, immutable folders of which one is current.

Layout::

    v2/...              what was written
    v2/manifest.json    written last: name, code version, time, facts, SHA-256 of every file,
                        SHA-256 of itself
    current             one line, the name of the current version

A version is written into a hidden folder, flushed, given its manifest and renamed, and only then
does the pointer say its name: a crash at any point leaves the old version current or the new one.
Leftovers are hidden folders that the next publication removes. One process at a time changes
versions: the caller holds the lock of ``durable.alone`` on their folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.errors import ArtefactError
from serendip.runtime.atomic_files import flush_folder, flush_tree, write_synced

MANIFEST = "manifest.json"
CHECKSUM = "checksum"
"""Key of what a manifest says about itself; always its last one."""

_UNSEALED = '""\n}'
_BUILDING, _REMOVING = ".building-", ".removing-"


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    Args:
        folder: where its files are.
        manifest: what its ``manifest.json`` says.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Prefix and number: ``v2``."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions of one thing.

    Args:
        folder: where they are.
        repair: what to do about a version that cannot be read, one or two sentences.
        prefix: of their names, before the number.
        pointer: name of the file that says which one is current.
        format: what manifests say and must say; None where they say none.
    """

    folder: Path
    repair: str
    prefix: str = "v"
    pointer: str = "current"
    format: int | None = None

    def publish(self, write: Callable[[Path], object], facts: Mapping[str, Any]) -> Version:
        """Write a version and make it current.

        Args:
            write: fills an empty folder.
            facts: what the manifest says beside name, code version, time and checksums.
        """
        for start in (_BUILDING, _REMOVING):
            for leftover in self.folder.glob(f"{start}*"):
                shutil.rmtree(leftover)
        taken = [self.number(path.name) for path in self.folder.glob(f"{self.prefix}*")]
        name = f"{self.prefix}{max(taken, default=0) + 1}"
        building = self.folder / f"{_BUILDING}{name}"
        building.mkdir()
        write(building)
        manifest = {
            **({} if self.format is None else {"format": self.format}),
            "name": name,
            "code_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "files": checksums(building),
        }
        text = sealed(manifest)
        write_synced(building / MANIFEST, text)
        flush_tree(building)
        building.rename(self.folder / name)
        flush_folder(self.folder)
        self.make_current(name)
        return Version(self.folder / name, json.loads(text))

    def make_current(self, name: str) -> None:
        """Make the pointer say another name, in one atomic step."""
        temporary = self.folder / f".{self.pointer}.new"
        write_synced(temporary, name + "\n")
        temporary.replace(self.folder / self.pointer)
        flush_folder(self.folder)

    def current_name(self) -> str:
        """What the pointer says; empty where there is none.

        Raises:
            ArtefactError: it does not say the name of a version.
        """
        path = self.folder / self.pointer
        try:
            said = path.read_bytes()
        except FileNotFoundError:
            return ""
        name = said.decode("ascii", "replace").strip()
        if not self.number(name):
            raise ArtefactError(f"{path} says {name[:80]!r}, which is no version.", self.repair)
        return name

    def known_name(self) -> str:
        """What the pointer says; empty where there is none, or where it cannot be read."""
        try:
            return self.current_name()
        except ArtefactError:
            return ""

    def current(self, verify: bool = True) -> Version | None:
        """The current version; None where none was published.

        Raises:
            ArtefactError: see ``open``.
        """
        name = self.current_name()
        return self.open(name, verify) if name else None

    def open(self, name: str, verify: bool = True) -> Version:
        """Read a version and check every file against its manifest.

        Raises:
            ArtefactError: its manifest is not readable, altered or of another format, or a file is
                missing, altered or not listed.
        """
        place = self.folder / name
        try:
            manifest = unsealed((place / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            message = f"{place / MANIFEST} is not readable: {error}."
            raise ArtefactError(message, self.repair) from None
        found_format = None if self.format is None else manifest.get("format")
        if found_format != self.format:
            message = f"{place} has format {found_format}, this code reads {self.format}."
            raise ArtefactError(message, self.repair)
        if verify:
            self._verify(place, manifest["files"])
        return Version(place, manifest)

    def names(self) -> list[str]:
        """Names of complete versions, oldest first."""
        folders = self.folder.glob(f"{self.prefix}*")
        found = [path.name for path in folders if (path / MANIFEST).is_file()]
        return sorted((name for name in found if self.number(name)), key=self.number)

    def number(self, name: str) -> int:
        """2 of ``v2``; 0 for anything that is no name of a version."""
        digits = name.removeprefix(self.prefix)
        is_number = digits != name and digits.isascii() and digits.isdecimal() and len(digits) < 19
        return int(digits) if is_number else 0

    def remove(self, name: str) -> None:
        """Remove a version."""
        # Out of the list in one step: half a version must never look like a whole one.
        hidden = (self.folder / name).rename(self.folder / f"{_REMOVING}{name}")
        flush_folder(self.folder)
        shutil.rmtree(hidden)

    def _verify(self, place: Path, expected: Mapping[str, str]) -> None:
        found = checksums(place)
        for name in sorted(set(expected) | set(found)):
            if expected.get(name) == found.get(name):
                continue
            state = "missing" if name not in found else "altered" if name in expected else "unknown"
            delete = f"Delete {place / name} if it came there by accident. "
            raise ArtefactError(
                f"files of {place} are missing or altered: {name} is {state}, "
                f"expected {expected.get(name, 'no such file')}, "
                f"found {found.get(name, 'nothing')}.",
                f"{delete if state == 'unknown' else ''}{self.repair}",
            )


def sealed(manifest: Mapping[str, Any]) -> str:
    """A manifest as text whose last entry is the SHA-256 of the text without it."""
    facts = {key: value for key, value in manifest.items() if key != CHECKSUM}
    text = json.dumps({**facts, CHECKSUM: ""}, indent=1, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text.removesuffix(_UNSEALED)}"{digest}"\n}}'


def unsealed(text: bytes) -> dict[str, Any]:
    """The manifest that ``sealed`` wrote.

    Raises:
        ValueError: it is not exactly what was written.
    """
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise ValueError("it is no manifest")
        if CHECKSUM not in manifest:
            raise ValueError("it has no checksum, as an older version of this code wrote it")
        # Written again, it is the same to the last byte, or it was changed.
        if sealed(manifest).encode() != text:
            raise ValueError("its checksum is wrong, so it was altered")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return manifest


def checksums(folder: Path) -> dict[str, str]:
    """File -> SHA-256, for everything below a folder but its manifest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
