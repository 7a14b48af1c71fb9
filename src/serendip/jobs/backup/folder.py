"""The folder of a backup, on a disk or in an object store, and what may be in it.

::

    manifest.json    format, time, place in the log, size and SHA-256 of every file, and of itself
    serendip.db      the database; generations/, ... as in a workspace

The manifest is begun first, empty, and written last: a backup without a sealed one is not complete.
What is read is hostile until every name, size and checksum is as the manifest says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress
from serendip.runtime.versions import MANIFEST, seal, unseal

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")

FORMAT = 2
FILES = ("serendip.toml", "serendip.db", "synonyms.csv")
FOLDERS = ("generations", "relevance", "queries", "media")
"""What a backup has of a workspace: everything but caches, reports, exports and files of users."""

_CHUNK = 1 << 20
_MOST_MANIFEST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """A folder in a file system of Arrow.

    Args:
        fs: the file system.
        path: of the folder in it.
        name: as the user gave it, without passwords.
        is_local: whether it is on a disk of this machine.
    """

    fs: FileSystem
    path: str
    name: str
    is_local: bool

    @classmethod
    def of(cls, place: str) -> BackupFolder:
        """Find a folder by its path, or by a URI such as ``s3://bucket/name``.

        Raises:
            ConfigError: there is no such file system, or it cannot be used.
        """
        from pyarrow.fs import FileSystem, LocalFileSystem

        if "://" not in place:
            return cls(LocalFileSystem(), os.path.abspath(place), place, True)
        try:
            fs, path = FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{mask_uri(place)} cannot be used: {error}.",
                "Give a folder, or a URI such as s3://bucket/name.",
            ) from None
        return cls(fs, path, mask_uri(place), isinstance(fs, LocalFileSystem))

    def files(self) -> dict[str, int | None]:
        """Relative path -> size of all that is no folder, None = no plain file; empty = nothing.

        Raises:
            StorageError: it cannot be read.
        """
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self.path, allow_not_found=True, recursive=True)
        try:
            return {
                info.path.removeprefix(self.path).lstrip("/"): info.size
                for info in self.fs.get_file_info(selector)
                if info.type != FileType.Directory
            }
        except OSError as error:
            raise StorageError(f"{self.name} cannot be read: {error}.") from None

    def require_empty(self) -> None:
        """Check that nothing is in the folder.

        Raises:
            ConfigError: something is.
            StorageError: it cannot be read.
        """
        if self.files():
            raise ConfigError(f"{self.name} is not empty.", "Give each backup a folder of its own.")

    def claim(self) -> bool:
        """Begin a backup, which on a disk nobody else can from then on; whether it made the folder.

        Raises:
            ConfigError: something is in the folder.
            StorageError: it cannot be written to.
        """
        is_new = self.is_local and not os.path.exists(self.path)
        try:
            if is_new:
                Path(self.path).mkdir(mode=0o700, parents=True)
            self.require_empty()
            with self._writing(MANIFEST, "xb"):
                return is_new
        except OSError as error:
            raise StorageError(f"{self.name} cannot be written: {error}.") from None

    def write(self, name: str, source: Path) -> str:
        """Write a file; returns its SHA-256."""
        with source.open("rb") as stream, self._writing(name, "xb") as out:
            return _copy_stream(stream, out)

    def seal(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, which completes a backup."""
        with self._writing(MANIFEST, "wb") as out:
            out.write(seal(manifest).encode())
        if self.is_local:
            flush_tree(Path(self.path))

    def clear(self, is_new: bool) -> bool:
        """Remove what was written since ``claim``, which said ``is_new``; whether all is gone."""
        try:
            (self.fs.delete_dir if is_new else self.fs.delete_dir_contents)(self.path)
        except OSError:
            return False
        return True

    @contextmanager
    def _writing(self, name: str, mode: str) -> Iterator[BinaryIO]:
        """Open a file that on a disk its owner alone may read; ``xb`` = there must be none yet."""
        path = f"{self.path}/{name}"
        self.fs.create_dir(os.path.dirname(path), recursive=True)
        if self.is_local:
            with open(path, mode, opener=_open_private) as file:
                yield cast(BinaryIO, file)
            return
        with self.fs.open_output_stream(path, compression=None) as stream:
            yield cast(BinaryIO, stream)

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            ArtefactError: it is missing, altered, or of another format.
        """
        try:
            with self.fs.open_input_stream(f"{self.path}/{MANIFEST}", compression=None) as stream:
                manifest = unseal(stream.read(_MOST_MANIFEST_BYTES))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{self.name} is no complete backup: {MANIFEST} is not readable: {error}.",
                "Restore another backup.",
            ) from None
        if (
            manifest.get("format") != FORMAT
            or not isinstance(manifest.get("sizes"), dict)
            or not isinstance(manifest.get("created"), str)
        ):
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

        def select(files: Mapping[str, T]) -> dict[str, T]:
            parts = ((name, PurePosixPath(name).parts) for name in files)
            return {name: files[name] for name, part in parts if part[:1] != (without,)}

        files = select(manifest["files"])
        if difference := _find_difference(files, manifest["sizes"], select(self.files())):
            return difference
        try:
            for name, checksum in progress.track(sorted(files.items()), "files", len(files)):
                path = Path(os.devnull) if target is None else target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with (
                    self.fs.open_input_stream(f"{self.path}/{name}", compression=None) as stream,
                    open(path, "wb", opener=_open_private) as out,
                ):
                    if _copy_stream(cast(BinaryIO, stream), out) != checksum:
                        return f"{name[:80]!r} is altered"
        except OSError as error:
            raise StorageError(f"{self.name} cannot be copied: {error}.") from None
        return ""


def _open_private(path: str, flags: int) -> int:
    """An ``opener`` of files that their owner alone may read."""
    return os.open(path, flags, 0o600)


def _copy_stream(source: BinaryIO, target: BinaryIO) -> str:
    """Copy all bytes; returns their SHA-256."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _find_difference(
    files: Mapping[str, Any], sizes: Mapping[str, Any], found: Mapping[str, int | None]
) -> str:
    """What is wrong with the names and sizes of a backup, as a sentence; empty = nothing."""
    for name in files:
        if not _is_of_workspace(name):
            return f"{name[:80]!r} is no file of a workspace"
    expected = {*files, MANIFEST}
    if missing := sorted(expected - found.keys()):
        return f"{missing[0][:80]!r} is missing"
    if extra := sorted(found.keys() - expected):
        return f"{extra[0][:80]!r} is not in the manifest"
    for name in files:
        if not isinstance(sizes.get(name), int) or found[name] != sizes[name]:
            return f"{name[:80]!r} has {found[name]} bytes instead of {sizes.get(name)}"
    return ""


def _is_of_workspace(name: str) -> bool:
    """Whether a path leads nowhere but to a place that a backup has something of."""
    path = PurePosixPath(name)
    if str(path) != name or ".." in path.parts or not name.isprintable():
        return False
    return name in FILES or (len(path.parts) > 1 and path.parts[0] in FOLDERS)


def mask_uri(place: str) -> str:
    """A URI without user and password, for people, logs and the list of backups.

    Of the query only the server stays: equal names on two servers are two places.
    """
    if "://" not in place:
        return place
    parts = urlsplit(place)
    server = [pair for pair in parse_qsl(parts.query) if pair[0] == "endpoint_override"]
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(server), "")
    )
