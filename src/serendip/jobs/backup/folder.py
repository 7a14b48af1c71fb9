"""The folder of a backup, on a disk or in an object store, and what may be in it.

::

    manifest.json    format, time, place in the log, SHA-256 of every file, and of itself
    serendip.db      the database; generations/, ... as in a workspace

The manifest is begun first, empty, and written last: a backup without a sealed one is not complete.
What is read is hostile until every name and checksum is as the manifest says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress
from serendip.runtime.sync import Storage
from serendip.runtime.versions import MANIFEST, hash_file, unseal

FORMAT = 2
FILES = ("serendip.toml", "serendip.db", "synonyms.csv")
FOLDERS = ("generations", "relevance", "queries", "media")
"""What a backup has of a workspace: everything but caches, reports, exports and files of users."""


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """A folder on a disk, or of an object store.

    Args:
        name: absolute path or URL, as the list of backups has it.
        storage: of a URL; None = it is on a disk.
    """

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

    def require_empty(self) -> None:
        """Check that nothing is in the folder.

        Raises:
            ConfigError: something is.
        """
        if self.names():
            raise ConfigError(f"{self.name} is not empty.", "Give each backup a folder of its own.")

    def claim(self) -> bool:
        """Begin a backup, which nobody else can from then on; whether it made the folder.

        Raises:
            ConfigError: something is in the folder.
            StorageError: it cannot be written to.
        """
        path = Path(self.name)
        is_new = self.storage is None and not path.exists()
        try:
            if is_new:
                path.mkdir(mode=0o700, parents=True)
            self.require_empty()
            if self.storage is None:
                (path / MANIFEST).touch(0o600, exist_ok=False)
            elif not self.storage.create(MANIFEST, os.urandom(8)):
                raise FileExistsError("another backup was begun there")
        except OSError as error:
            raise StorageError(f"{self.name} cannot be written: {error}.") from None
        return is_new

    def write(self, name: str, source: Path) -> None:
        """Write a file, which on a disk its owner alone may read."""
        if self.storage is not None:
            self.storage.upload(name, source)
            return
        path = Path(self.name) / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        shutil.copyfile(source, path)
        if name == MANIFEST:
            flush_tree(Path(self.name))

    def clear(self, is_new: bool) -> bool:
        """Remove what was written since ``claim``, which said ``is_new``; whether all is gone."""
        try:
            if self.storage is not None:
                self.storage.remove(*self.names())
            elif is_new:
                shutil.rmtree(self.name)
            else:
                for path in Path(self.name).iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        except (OSError, StorageError):
            return False
        return True

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
        progress: Progress,
        target: Path | None = None,
        without: str | None = None,
    ) -> str:
        """Read every file again; what is not as the manifest says, as a sentence, empty = nothing.

        Args:
            manifest: of the backup.
            progress: of the files.
            target: folder for copies of them; None = they are only read.
            without: a folder that is neither read nor looked at.

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
            for name, checksum in progress.track(sorted(files.items()), "files", len(files)):
                if self._read(name, target) != checksum:
                    return f"{name[:80]!r} is altered"
        except OSError as error:
            raise StorageError(f"{self.name} cannot be copied: {error}.") from None
        return ""

    def _read(self, name: str, target: Path | None) -> str:
        """Copy a file into a folder, or only read it; its SHA-256."""
        copy = Path(os.devnull)
        if target is not None:
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch(0o600)
        if self.storage is not None:
            return self.storage.download(name, copy)
        source = Path(self.name) / name
        if not source.is_file() or source.is_symlink():
            return ""
        shutil.copyfile(source, copy)
        return hash_file(source if target is None else copy)


def _is_of_workspace(name: str) -> bool:
    """Whether a path leads nowhere but to a place that a backup has something of."""
    path = PurePosixPath(name)
    if str(path) != name or ".." in path.parts or not name.isprintable():
        return False
    return name in FILES or (len(path.parts) > 1 and path.parts[0] in FOLDERS)
