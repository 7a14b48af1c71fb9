"""The folder of a backup, on a disk or in an object store, and what may be in it.

::

    manifest.json    format, time, place in the log, SHA-256 of every file, and of itself
    serendip.db      the database; generations/, ... as in a workspace

The manifest is in its place last: a backup without it is not complete.
What is read is hostile until every name and checksum is as the manifest says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.runtime.atomic_files import flush_folder, flush_tree, hash_file
from serendip.runtime.scratch import remove_abandoned, scratch_folder
from serendip.runtime.sync import Storage
from serendip.runtime.versions import MANIFEST, unseal

FORMAT = 2
FILES = ("serendip.toml", "serendip.db", "synonyms.csv")
FOLDERS = ("generations", "relevance", "queries", "media")
"""What a backup has of a workspace: everything but caches, reports, exports and files of users."""


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """A folder on a disk, by its absolute path, or of an object store, by its URL."""

    name: str
    storage: Storage | None

    @classmethod
    def of(cls, place: str) -> BackupFolder:
        """Find a folder by its path, or by a URL such as ``s3://bucket/name``.

        Raises:
            ConfigError: there is no such storage, or the URL has more than its place.
        """
        if "://" not in place:
            return cls(os.path.abspath(place), None)
        if {"@", "?"} & set(place):
            raise ConfigError(
                "the URL of a backup has a password or options.",
                "Give s3://bucket/name alone; credentials and server come from the environment.",
            )
        return cls(place, Storage(place))

    def names(self) -> set[str]:
        """Relative paths of all that is no folder; empty = there is nothing."""
        if self.storage is not None:
            return set(self.storage.sizes(""))
        path = Path(self.name)
        found = (one for one in path.rglob("*") if one.is_symlink() or not one.is_dir())
        return {one.relative_to(path).as_posix() for one in found}

    @contextmanager
    def claim(self, scratch: Path) -> Iterator[Path]:
        """A folder for the files of a new backup, which nobody else can begin from then on.

        After the block they are in place, the manifest last; of one that fails nothing is left.
        What is copied or uploaded then is in ``scratch``, on this machine.

        Raises:
            ConfigError: something is in the folder.
            StorageError: it cannot be written to.
        """
        with scratch_folder(scratch) as folder:
            staged = folder / "files"
            staged.mkdir()
            if self.storage is None:
                with fill(Path(self.name), MANIFEST) as copy:
                    yield staged
                    _copy_files(staged, copy)
                return
            if self.names() or not self.storage.create(MANIFEST, os.urandom(8)):
                raise _not_empty(self.name)
            try:
                yield staged
                for path in sorted(_files(staged), key=lambda path: path == staged / MANIFEST):
                    self.storage.upload(path.relative_to(staged).as_posix(), path)
            except BaseException:
                with suppress(StorageError):
                    self.storage.remove(*self.names())
                raise

    def is_gone(self) -> bool:
        """Whether it is certain that nothing is there."""
        try:
            return not self.names()
        except (OSError, StorageError):
            return False

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            ArtefactError: it is missing, altered, or of another format.
        """
        try:
            if self.storage is None:
                content = (Path(self.name) / MANIFEST).read_bytes()
            else:
                content = self.storage.read(MANIFEST) or b""
            manifest = unseal(content)
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{self.name} is no complete backup: {MANIFEST} is not readable: {error}.",
                "Restore another backup.",
            ) from None
        if manifest.get("format") != FORMAT or not isinstance(manifest.get("created"), str):
            raise ArtefactError(
                f"{self.name} is not of the format {FORMAT}, which this code reads.",
                "Restore it with the version of Serendip that made it.",
            )
        return manifest

    def find_damage(
        self,
        manifest: Mapping[str, Any],
        target: Path | None = None,
        without: str | None = None,
    ) -> str:
        """Read every file again; what is not as the manifest says, as a sentence, empty = nothing.

        Files are copied into the target, None = they are only read; the folder ``without`` is
        neither read nor looked at.

        Raises:
            StorageError: something cannot be read or written.
        """

        def is_chosen(name: str) -> bool:
            return PurePosixPath(name).parts[:1] != (without,)

        files = {name: one for name, one in manifest["files"].items() if is_chosen(name)}
        if foreign := sorted(name for name in files if not _is_of_workspace(name)):
            return f"{foreign[0][:80]!r} is no file of a workspace"
        if other := sorted(set(filter(is_chosen, self.names())) ^ {*files, MANIFEST}):
            problem = "missing" if other[0] in files else "not in the manifest"
            return f"{other[0][:80]!r} is {problem}"
        try:
            for name, checksum in sorted(files.items()):
                if self._read(name, target) != checksum:
                    return f"{name[:80]!r} is altered"
        except OSError as error:
            raise StorageError(f"{self.name} cannot be copied: {error}.") from None
        return ""

    def _read(self, name: str, target: Path | None) -> str:
        copy = Path(os.devnull) if target is None else target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if self.storage is not None:
            return self.storage.download(name, copy)
        source = Path(self.name) / name
        if not source.is_file() or source.is_symlink():
            return ""
        shutil.copyfile(source, copy)
        return hash_file(source if target is None else copy)


@contextmanager
def fill(target: Path, last: str) -> Iterator[Path]:
    """A folder whose files are moved into one that is missing or empty after the block.

    The file ``last`` comes once all others are there for good. Of a block that fails nothing is
    left. The owner of the files alone may read them.

    Raises:
        ConfigError: something is in the target, such as what another process moves there.
    """
    if target.is_dir():
        remove_abandoned(target)
    _require_free(target)
    is_new = not target.exists()
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with scratch_folder(target) as scratch:
            _require_free(target, scratch)
            staged = scratch / "files"
            staged.mkdir()
            yield staged
            _require_free(target, scratch)
            for path in _files(staged):
                path.chmod(0o600)
            flush_tree(staged)
            for path in sorted(staged.iterdir(), key=lambda path: path.name == last):
                if path.name == last:
                    flush_folder(target)
                path.rename(target / path.name)
            flush_folder(target)
    finally:
        if is_new:
            with suppress(OSError):  # it is filled
                target.rmdir()


def _copy_files(source: Path, target: Path) -> None:
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        if hash_file(copy) != hash_file(path):
            raise StorageError(f"{copy.name} of the backup reads back otherwise.", "Try again.")


def _require_free(target: Path, *own: Path) -> None:
    if target.exists() and (not target.is_dir() or set(target.iterdir()) - set(own)):
        raise _not_empty(target)


def _not_empty(place: object) -> ConfigError:
    return ConfigError(f"{place} is not empty.", "Name a new folder, or an empty one.")


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _is_of_workspace(name: str) -> bool:
    """Whether a path leads nowhere but to a place that a backup has something of."""
    path = PurePosixPath(name)
    if str(path) != name or ".." in path.parts or not name.isprintable():
        return False
    return name in FILES or (len(path.parts) > 1 and path.parts[0] in FOLDERS)
