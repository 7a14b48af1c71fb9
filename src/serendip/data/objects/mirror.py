"""Copies, on this machine, of folders that an object store has: a checksummed cache.

A folder in the store never changes and has a manifest with the SHA-256 of every file, written last.
It is fetched once: into a hidden folder, each file hashed as it arrives, then renamed. A file that
another copy here has is linked to it. A fetch that was killed goes on where it was. What is damaged
here is fetched anew; what is damaged in the store is refused.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from serendip.data.objects.object_store import ObjectStore
from serendip.errors import ArtefactError, StorageError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder, flush_tree
from serendip.runtime.versions import MANIFEST, hash_file, unseal

_log = logging.getLogger(__name__)

_FETCHING = ".fetching"
_AT_ONCE = 4
"""Files that are fetched or stored at the same time."""

_SPARE = 16 << 20
"""Bytes of a disk that a fetch leaves to others, such as the database."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_DAMAGED = "Publish it again: `serendip train`, or restore a backup."


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder of this machine, and the folder of an object store that it has copies of.

    Args:
        folder: here; its subfolders have the names of those in the store.
        objects: of the folder there.
        most_bytes: of the copies here, but those that are needed stay; None = no limit.
    """

    folder: Path
    objects: ObjectStore
    most_bytes: int | None = None
    _outages: set[str] = field(default_factory=set, compare=False)

    def note_outage(self, problem: str) -> None:
        """Log once that the store is out of reach, and once that it is not any more.

        Args:
            problem: why it is out of reach; empty = it is not.
        """
        if problem and not self._outages:
            _log.warning("what this machine has copies of is used: %s", problem)
            self._outages.add(problem)
        elif self._outages and not problem:
            _log.info("%s can be reached again", self.objects.name)
            self._outages.clear()

    def names(self) -> list[str]:
        """Names of the complete folders in the store."""
        return complete_names(self.objects.sizes(""))

    def fetch(
        self,
        name: str,
        spare: Collection[str] = (),
        clear: Callable[[str, bytes], None] | None = None,
    ) -> bool:
        """Bring a folder here, or what is missing or damaged of it.

        Processes of this machine that want the same wait for the first one.

        Args:
            name: of the folder.
            spare: names of copies that may go, for the limit or on a full disk.
            clear: takes away what lies here under the name, for a copy with a manifest; None = it
                is a copy and goes.

        Returns:
            whether the store has it, complete.

        Raises:
            ArtefactError: a file in the store is not what its manifest says.
            StorageError: the store cannot be reached, or this disk is full.
        """
        try:
            with exclusive_lock(self.folder / _FETCHING, wait=True):
                stored = self.objects.read(f"{name}/{MANIFEST}")
                if stored is None:
                    return False
                manifest = stored.content
                files = self._read_files(name, manifest)
                if not self._is_whole(name, manifest, files):
                    copies = self.copies() if spare else {}
                    old = [other for other in copies if other in spare and other != name]
                    self._keep_limit(name, old)

                    def gather() -> None:
                        self._fetch_files(name, files)
                        self._put_in_place(name, manifest, clear)

                    self._make_room(name, gather, old)
        except OSError as error:
            raise StorageError(
                f"{self.folder / name} cannot be written: {error.strerror or error}.",
                "Check free space and permissions.",
            ) from None
        return True

    def store(self, name: str, folder: Path) -> None:
        """Write a complete folder of this machine into the store, the manifest last.

        Args:
            name: there; nobody else writes to it.
            folder: here, with its manifest.

        Raises:
            StorageError: the store cannot be written to, or did not keep all of it.
        """
        sizes = {
            f"{name}/{path.relative_to(folder).as_posix()}": path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        last = f"{name}/{MANIFEST}"

        def upload(key: str) -> None:
            self.objects.upload(key, folder / key.removeprefix(f"{name}/"))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(upload, [key for key in sizes if key != last]):
                pass
        upload(last)
        found = self.objects.sizes(f"{name}/")
        if wrong := [key for key, size in sizes.items() if found.get(key) != size]:
            raise StorageError(
                f"{self.objects.name}/{wrong[0]} has {found.get(wrong[0])} bytes instead of "
                f"{sizes[wrong[0]]} after it was written.",
                "Try again.",
            )

    def remove(self, name: str) -> None:
        """Remove a folder from the store, the manifest first: it never looks complete again."""
        self.objects.remove([f"{name}/{MANIFEST}"])
        self.objects.remove(self.objects.sizes(f"{name}/"))

    def drop_copy(self, name: str) -> None:
        """Remove the copy of this machine; whoever has mapped its files goes on reading them."""
        hidden = self.folder / _FETCHING / f".removing-{name}-{secrets.token_hex(4)}"
        hidden.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (self.folder / name).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def drop_parts(self) -> None:
        """Remove what killed fetches and removals left, unless a fetch is under way."""
        fetching = self.folder / _FETCHING
        with suppress(StorageError), exclusive_lock(fetching):
            for path in fetching.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)

    def copies(self) -> dict[str, int]:
        """Name -> bytes of the copies on this machine, the oldest first."""
        folders = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):
                if not path.name.startswith(".") and path.is_dir():
                    folders.append((path.stat().st_mtime, path))
        return {path.name: _count_bytes(path) for _, path in sorted(folders)}

    def _read_files(self, name: str, manifest: bytes) -> dict[str, str]:
        """File -> SHA-256 as the manifest of the store says."""
        try:
            files: dict[str, str] = unseal(manifest)["files"]
        except ValueError as error:
            message = f"{self.objects.name}/{name}/{MANIFEST} is not readable: {error}."
            raise ArtefactError(message, _DAMAGED) from None
        for file in files:
            parts = PurePosixPath(file).parts
            if not parts or ".." in parts or "/".join(parts) != file:
                raise ArtefactError(f"{self.objects.name}/{name} has a file named {file[:80]!r}.")
        return files

    def _is_whole(self, name: str, manifest: bytes, files: Mapping[str, str]) -> bool:
        """Whether the copy here has all files as the manifest of the store says, and no other."""
        folder = self.folder / name
        try:
            if (folder / MANIFEST).read_bytes() != manifest:
                return False
            found = {path.relative_to(folder).as_posix() for path in _files_in(folder)}
            return found == {*files, MANIFEST} and all(
                hash_file(folder / file) == digest for file, digest in files.items()
            )
        except OSError:
            return False

    def _make_room(self, name: str, gather: Callable[[], None], old: list[str]) -> None:
        """Fetch a folder; whenever the disk is full, without one more of the old copies.

        If that is not enough, what was fetched goes: others need the disk, too.
        """
        while True:
            try:
                gather()
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                if not old:
                    shutil.rmtree(self.folder / _FETCHING / name, ignore_errors=True)
                    raise
                _log.warning("the disk of %s is full: its copy of %s goes", self.folder, old[0])
                self.drop_copy(old.pop(0))

    def _fetch_files(self, name: str, files: Mapping[str, str]) -> None:
        """Gather the files of a folder beside its place: those that are here, then the others."""
        building = self.folder / _FETCHING / name
        for path in (self.folder / _FETCHING).iterdir():
            if path.is_dir() and path != building:
                shutil.rmtree(path, ignore_errors=True)
        known, ordered = self._known_files(), sorted(files)

        def find(file: str) -> bool:
            path, digest = building / file, files[file]
            path.parent.mkdir(parents=True, exist_ok=True)
            return _has(path, digest) or _link(known.get(digest, ()), path, digest)

        def download(file: str) -> None:
            self._download(f"{name}/{file}", building / file, files[file])

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(ordered, pool.map(find, ordered), strict=True)
            missing = [file for file, is_here in found if not is_here]
            self._require_room(name, missing)
            for _ in pool.map(download, missing):
                pass
        for path in _files_in(building):
            if path.relative_to(building).as_posix() not in files:
                path.unlink()

    def _require_room(self, name: str, files: Collection[str]) -> None:
        """Check that the disk has room for files of a folder, before it is filled with a part.

        Raises:
            OSError: it has not.
        """
        sizes = self.objects.sizes(f"{name}/") if files else {}
        needed = sum(sizes.get(f"{name}/{file}", 0) for file in files)
        if needed and shutil.disk_usage(self.folder).free < needed + _SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _download(self, key: str, path: Path, digest: str) -> None:
        """Write an object to a file and compare its SHA-256; a wrong one is fetched once more."""
        for _ in range(2):
            hashed = hashlib.sha256()
            try:
                with path.open("wb") as stream:
                    for part in self.objects.stream(key):
                        hashed.update(part)
                        stream.write(part)
            except FileNotFoundError:
                raise ArtefactError(f"{self.objects.name}/{key} is missing.", _DAMAGED) from None
            if hashed.hexdigest() == digest:
                return
        path.unlink()
        raise ArtefactError(
            f"{self.objects.name}/{key} is altered: expected {digest}, found {hashed.hexdigest()}.",
            _DAMAGED,
        )

    def _put_in_place(
        self, name: str, manifest: bytes, clear: Callable[[str, bytes], None] | None
    ) -> None:
        building = self.folder / _FETCHING / name
        building.mkdir(exist_ok=True)
        (building / MANIFEST).write_bytes(manifest)
        flush_tree(building)
        if clear is None:
            self.drop_copy(name)
        else:
            clear(name, manifest)
        building.rename(self.folder / name)
        flush_folder(self.folder)

    def _known_files(self) -> dict[str, list[Path]]:
        """SHA-256 -> files of the copies here that should have it."""
        known: dict[str, list[Path]] = {}
        for name in self.copies():
            with suppress(OSError, ValueError):
                files = unseal((self.folder / name / MANIFEST).read_bytes())["files"]
                for file, digest in files.items():
                    known.setdefault(digest, []).append(self.folder / name / file)
        return known

    def _keep_limit(self, name: str, old: list[str]) -> None:
        """Remove the oldest copies until another one fits within the limit."""
        if self.most_bytes is None:
            return
        copies = self.copies()
        left = sum(self.objects.sizes(f"{name}/").values()) + sum(copies.values())
        left -= copies.get(name, 0)
        while old and left > self.most_bytes:
            left -= copies.get(old[0], 0)
            self.drop_copy(old.pop(0))
        if left > self.most_bytes:
            _log.warning("copies in %s take %d bytes, all of them needed", self.folder, left)


Place: TypeAlias = Path | Mirror
"""Where folders lie: on this machine alone, or in an object store with copies here."""


def local_folder(place: Place) -> Path:
    """The folder of this machine."""
    return place.folder if isinstance(place, Mirror) else place


def place_name(place: Place) -> str:
    """Where folders lie, for people: a path, or what the object store is called."""
    return place.objects.name if isinstance(place, Mirror) else str(place)


def complete_names(sizes: Mapping[str, int]) -> list[str]:
    """Names of the complete folders among objects: those that have a manifest."""
    parts = (key.split("/") for key in sizes)
    return sorted(part[0] for part in parts if len(part) == 2 and part[1] == MANIFEST)


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _count_bytes(folder: Path) -> int:
    total = 0
    for path in _files_in(folder):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _has(path: Path, digest: str) -> bool:
    return path.is_file() and hash_file(path) == digest


def _link(candidates: Collection[Path], path: Path, digest: str) -> bool:
    """Link or copy one of several files that has a SHA-256; whether one has."""
    for candidate in candidates:
        with suppress(OSError):
            path.unlink(missing_ok=True)
            try:
                os.link(candidate, path)
            except PermissionError:  # this file system has no hard links
                shutil.copyfile(candidate, path)
            if hash_file(path) == digest:
                return True
    path.unlink(missing_ok=True)  # a link must not be written through
    return False
