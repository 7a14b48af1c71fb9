"""The folder of a backup, on a disk or in an object store, and what may be in it.

::

    manifest.json    format, time, place in the log, size and SHA-256 of every file, and of itself
    serendip.db      the database; generations/, ... as in a workspace

The manifest is written last: without one a backup is not complete. What is read is hostile until
every name, size and checksum is as the manifest says.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.runtime.progress import Progress
from serendip.runtime.versions import MANIFEST, unseal

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

FORMAT = 1
FILES = ("serendip.toml", "serendip.db", "synonyms.csv")
FOLDERS = ("generations", "semantic_ids", "relevance", "queries", "media")
"""What a backup has of a workspace: everything but caches, reports, exports and files of users."""

_CHUNK = 1 << 20
_MOST_MANIFEST_BYTES = 1 << 28
_MOST_PARTS, _MOST_CHARS = 12, 1_000
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


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

    def files(self) -> dict[str, int]:
        """Relative path -> size of every file, however deep; empty if there is no folder.

        Raises:
            ArtefactError: there is a link, a device or anything else that is no plain file.
            StorageError: it cannot be read.
        """
        try:
            return dict(self._local_files() if self.is_local else self._remote_files())
        except OSError as error:
            raise StorageError(f"{self.name} cannot be read: {error}.") from None

    def _local_files(self) -> Iterator[tuple[str, int]]:
        for root, folders, names in os.walk(self.path):
            for name in (*folders, *names):
                path = Path(root, name)
                status = path.lstat()
                shown = path.relative_to(self.path).as_posix()
                if stat.S_ISREG(status.st_mode):
                    yield shown, status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    raise ArtefactError(f"{self.name}: {shown[:80]!r} is not a plain file.")

    def _remote_files(self) -> Iterator[tuple[str, int]]:
        from pyarrow.fs import FileSelector, FileType

        for info in self.fs.get_file_info(
            FileSelector(self.path, allow_not_found=True, recursive=True)
        ):
            shown = info.path.removeprefix(self.path).lstrip("/")
            if info.type == FileType.File:
                yield shown, info.size
            elif info.type != FileType.Directory:
                raise ArtefactError(f"{self.name}: {shown[:80]!r} is not a plain file.")

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
        if manifest.get("format") != FORMAT or not isinstance(manifest.get("sizes"), dict):
            raise ArtefactError(
                f"{self.name} has format {manifest.get('format')}, this code reads {FORMAT}."
            )
        if not isinstance(manifest.get("created"), str):
            raise ArtefactError(f"{self.name}: {MANIFEST} does not say when it was created.")
        return manifest

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """Open a file of the folder."""
        with self.fs.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            yield cast(BinaryIO, stream)

    def find_damage(self, manifest: Mapping[str, Any], progress: Progress) -> str:
        """Read every file again; what is not as the manifest says, empty = nothing.

        Raises:
            ArtefactError: there is a link, a device or anything else that is no plain file.
            StorageError: it cannot be read.
        """
        if difference := find_difference(manifest, self.files()):
            return difference
        names = sorted(manifest["files"])
        try:
            for name in progress.track(names, "files", len(names)):
                with self.reading(name) as stream, open(os.devnull, "wb") as nowhere:
                    size, checksum = copy_stream(stream, nowhere, manifest["sizes"][name])
                if (size, checksum) != (manifest["sizes"][name], manifest["files"][name]):
                    return f"{name[:80]!r} is altered"
        except OSError as error:
            raise StorageError(f"{self.name} cannot be read: {error}.") from None
        return ""


def copy_stream(source: BinaryIO, target: BinaryIO, most: int) -> tuple[int, str]:
    """Copy at most ``most`` bytes; returns their number and SHA-256.

    One byte more is read, so that a longer file has another size than it should.
    """
    digest, size = hashlib.sha256(), 0
    while size <= most and (chunk := source.read(min(_CHUNK, most + 1 - size))):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def name_problem(name: str) -> str:
    """Why a path must not be in a backup; empty = it may."""
    parts = PurePosixPath(name).parts
    if not parts or "/".join(parts) != name or len(parts) > _MOST_PARTS or len(name) > _MOST_CHARS:
        return "is no plain relative path"
    for part in parts:
        if part in (".", "..") or part != part.strip(" ") or part.endswith("."):
            return "leads elsewhere"
        if _FORBIDDEN.search(part) or _DEVICES.match(part):
            return "has a name that not every disk can keep"
    is_known = name in FILES if len(parts) == 1 else parts[0] in FOLDERS
    return "" if is_known else "is no part of a workspace"


def find_difference(manifest: Mapping[str, Any], found: Mapping[str, int]) -> str:
    """What is wrong with the names and sizes of a backup, as a sentence; empty = nothing."""
    files, sizes = manifest["files"], manifest["sizes"]
    for name in files:
        if problem := name_problem(name):
            return f"{name[:80]!r} {problem}"
    folded: dict[str, str] = {}
    for name in files:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            return f"{name[:80]!r} and {other[:80]!r} are one file on some disks"
    expected = {*files, MANIFEST}
    if missing := sorted(expected - found.keys()):
        return f"{missing[0][:80]!r} is missing"
    if extra := sorted(found.keys() - expected):
        return f"{extra[0][:80]!r} is not in the manifest"
    for name in files:
        if not isinstance(sizes.get(name), int) or found[name] != sizes[name]:
            return f"{name[:80]!r} has {found[name]} bytes instead of {sizes.get(name)}"
    return ""


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
