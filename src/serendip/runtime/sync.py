"""Generations in a storage that several machines share, with copies on each machine.

::

    storage.json               a random id, written at the first use: the marker of the storage
    pointers/0000000012        name of the folder in force; the highest number counts
    generations/gen-7-1f9a.../ files, then manifest.json; the name ends with the manifest's SHA-256

A pointer is made by a conditional put, so that of two machines that publish at once one is refused.
Folders never change, and no two have the same name. After a crash at any point the storage says the
old generation or the new one. A copy counts if its manifest is that of the storage; it is fetched
beside its place, each file compared with its SHA-256, and renamed.

``obstore`` speaks to buckets of S3 and its like, of Google Cloud, and to mounted folders. Its
credentials come from the environment.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from serendip.errors import ArtefactError, ConfigError, ConflictError, StorageError
from serendip.runtime.atomic_files import (
    exclusive_lock,
    flush_folder,
    flush_tree,
    hash_file,
    storage_errors,
    write_synced,
)
from serendip.runtime.extras import of_extra
from serendip.runtime.versions import MANIFEST, unseal

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_log = logging.getLogger(__name__)

_MARKER, _POINTERS, _FOLDERS = "storage.json", "pointers", "generations"
_NOTE, _FETCHING = ".storage", ".fetching"
_PART, _AT_ONCE = 16 << 20, 4
# Longest seconds of a small request, and of one for a part of a file; a storage that did not
# answer is not asked again for the last number.
_TIMEOUT_S, _FILE_TIMEOUT_S, _SILENT_S = 5, 120, 10.0
_DIGITS = 12
_SCHEMES = ("s3", "s3a", "gs")
_CHECK = "Check the storage, the credentials in the environment and the network."


class Storage:
    """Objects below a URL; safe to use from many threads.

    Every method raises ``StorageError`` if the storage cannot be reached or refuses the access, and
    ``ExtraMissing`` if the extra ``s3`` is not installed.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix`` or the absolute path of a folder.

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith("/") and url.partition("://")[0] not in _SCHEMES:
            raise ConfigError(
                f"{url} is no place that can be used.",
                "Give s3://bucket/prefix, gs://bucket/prefix or the whole path of a folder.",
            )
        self.url = url.rstrip("/")

    @cached_property
    def _small(self) -> ObjectStore:
        return _client(self.url, _TIMEOUT_S)

    @cached_property
    def _large(self) -> ObjectStore:
        return _client(self.url, _FILE_TIMEOUT_S)

    @property
    def is_there(self) -> bool:
        """False if it is a folder that does not exist."""
        return not self.url.startswith("/") or Path(self.url).is_dir()

    def read(self, key: str) -> bytes | None:
        """A small object; None if there is none."""
        with self._errors("read", key):
            try:
                return bytes(self._small.get(key).bytes())
            except FileNotFoundError:
                return None

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object; False = there is one."""
        from obstore.exceptions import AlreadyExistsError

        with self._errors("written", key):
            try:
                self._small.put(key, content, mode="create")
            except AlreadyExistsError:  # by us, if the answer to a first attempt was lost
                return self.read(key) == content
        return True

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        with self._errors("written", key):
            self._large.put(key, path, chunk_size=_PART, max_concurrency=_AT_ONCE)

    def download(self, key: str, path: Path) -> str:
        """Write the content of an object to a file; its SHA-256."""
        hashed = hashlib.sha256()
        with path.open("wb") as stream:
            for part in self._parts(key):
                hashed.update(part)
                stream.write(part)
        return hashed.hexdigest()

    def _parts(self, key: str) -> Iterator[bytes]:
        with self._errors("read", key):
            size = self._small.head(key)["size"]
            for start in range(0, size, _PART):
                yield bytes(
                    self._large.get_range(key, start=start, length=min(_PART, size - start))
                )

    def sizes(self, folder: str) -> dict[str, int]:
        """Key -> bytes of all objects in a folder."""
        with self._errors("listed", folder):
            return {one["path"]: one["size"] for page in self._small.list(folder) for one in page}

    def remove(self, *keys: str) -> None:
        """Remove objects; those that are not there are no error."""
        for key in keys:
            with self._errors("removed", key), suppress(FileNotFoundError):
                self._small.delete(key)

    @contextmanager
    def _errors(self, done: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:  # the client repeats its configuration after a line
            yield
        except (BaseError, OSError, ValueError) as error:
            told = str(error).partition("\n")[0][:300].rstrip(".")
            raise StorageError(f"{self.url}/{key} cannot be {done}: {told}.", _CHECK) from None


def _client(url: str, timeout_s: int) -> ObjectStore:
    with of_extra("s3", "the client of [storage]"):
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    if url.startswith("/"):
        return LocalStore(url)
    # A variable of the environment may name a server without TLS, which S3 itself is not.
    options: Any = {"timeout": f"{timeout_s}s", "connect_timeout": "5s", "allow_http": True}
    retries: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=timeout_s)}
    try:
        return from_url(url, client_options=options, retry_config=retries)
    except (BaseError, ValueError) as error:
        told = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"{url} cannot be used: {told}.") from None


class SharedFolder:
    """A folder of generations on this machine, and the storage that has them for all.

    Args:
        folder: here; its subfolders are called ``gen-7``.
    """

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.folder, self.storage = folder, storage
        self._number, self._in_force = 0, ""  # of the last pointer; 0 = none was read
        self._problem, self._silent_until = "", 0.0  # why, and how long, it is not asked

    def fetch_in_force(self) -> str:
        """Bring the generation in force here if it is not; its name, empty = there is none.

        A storage that does not answer is logged once; what this machine has then counts.

        Raises:
            ArtefactError: a file in the storage is not what the manifest says.
            StorageError: the storage is out of reach, lacks its marker, or this disk is full.
        """
        if time.monotonic() < self._silent_until:
            raise StorageError(self._problem, _CHECK)
        try:
            folder = self.in_force()
        except StorageError as error:
            if not self._problem:
                _log.warning("what this machine has copies of is used: %s", error)
            self._problem = error.message
            self._silent_until = time.monotonic() + _SILENT_S
            raise
        if self._problem:
            _log.info("%s can be reached again", self.storage.url)
            self._problem = ""
        if folder and not self._is_here(folder):
            self.fetch(folder)
        return _name(folder)

    def in_force(self) -> str:
        """Name of the folder in the storage that is in force; empty = none is."""
        if not self._number:
            if not self.require_marker():
                return ""
            numbers = (_number(key, "/") for key in self.storage.sizes(_POINTERS))
            self._number = max(numbers, default=0)
            self._in_force = self._read_pointer(self._number) if self._number else ""
        while newer := self._read_pointer(self._number + 1):
            self._number, self._in_force = self._number + 1, newer
        return self._in_force

    def _read_pointer(self, number: int) -> str:
        content = self.storage.read(_pointer(number)) if self.storage.is_there else None
        return "" if content is None else content.decode("ascii", "replace").partition("\n")[0]

    def put_in_force(self, folder: str) -> None:
        """Set the pointer, unless another machine has set it since it was read.

        Raises:
            ConflictError: another machine did; its pointer stays.
        """
        content = f"{folder}\n{secrets.token_hex(16)}\n".encode("ascii")
        if not self.storage.create(_pointer(self._number + 1), content):
            raise ConflictError(
                f"another generation was published in {self.storage.url} meanwhile, so "
                f"{_name(folder)} was not.",
                "Look at it with `serendip status`, and run the command again if it is not enough.",
            )
        self._number, self._in_force = self._number + 1, folder

    def require_marker(self, may_write: bool = False) -> bool:
        """Whether the storage has the marker that this machine knows.

        With ``may_write`` it is written into a storage that is used for the first time.

        Raises:
            StorageError: it is not there, or another one: the storage is not mounted, or was
                emptied or replaced.
        """
        note = self.folder / _NOTE
        known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        found = self.storage.read(_MARKER) if self.storage.is_there else None
        if found is None and may_write and known.get("url") != self.storage.url:
            if self.storage.url.startswith("/"):
                Path(self.storage.url).mkdir(parents=True, exist_ok=True)
            self.storage.create(_MARKER, json.dumps({"id": secrets.token_hex(16)}).encode())
            found = self.storage.read(_MARKER)
        marker = "" if found is None else hashlib.sha256(found).hexdigest()
        if known.get("url") == self.storage.url and known["marker"] != marker:
            raise StorageError(
                f"{self.storage.url} has not the {_MARKER} that it had: it is not mounted, or was "
                "emptied or replaced.",
                f"Mount it. If it was replaced on purpose, delete {note} on each machine.",
            )
        if marker and not known:
            with suppress(OSError):  # of a disk that takes no writes
                self.folder.mkdir(parents=True, exist_ok=True)
                write_synced(note, json.dumps({"url": self.storage.url, "marker": marker}))
        return bool(marker)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Folder -> manifest of the complete generations in the storage, the oldest first."""
        found = {}
        for key in self.storage.sizes(_FOLDERS):
            _, folder, *file = key.split("/")
            if file == [MANIFEST]:
                with suppress(ValueError):
                    found[folder] = unseal(self.storage.read(key) or b"")
        return dict(sorted(found.items(), key=lambda one: _number(_name(one[0]), "-")))

    def store(self, building: Path, name: str) -> str:
        """Write a complete generation into the storage, its manifest last; its folder there."""
        manifest = (building / MANIFEST).read_bytes()
        target = f"{name}-{hashlib.sha256(manifest).hexdigest()[:_DIGITS]}"

        def write(file: str) -> None:
            self.storage.upload(f"{_FOLDERS}/{target}/{file}", building / file)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(write, unseal(manifest)["files"]))
        self.storage.upload(f"{_FOLDERS}/{target}/{MANIFEST}", building / MANIFEST)
        return target

    def remove(self, folder: str) -> None:
        """Remove a folder from the storage, the manifest first: it never looks complete again."""
        self.storage.remove(f"{_FOLDERS}/{folder}/{MANIFEST}")
        self.storage.remove(*self.storage.sizes(f"{_FOLDERS}/{folder}"))

    def fetch(self, folder: str, is_damaged: bool = False) -> None:
        """Bring a generation here; what other copies here have is linked.

        Processes of this machine that want the same wait for the first one. A fetch that was killed
        goes on where it was.

        With ``is_damaged`` a copy that is here is replaced.

        Raises:
            ArtefactError: a file in the storage is not what its manifest says.
            StorageError: the storage cannot be reached, or this disk is full.
        """
        target = self.folder / _name(folder)
        with storage_errors(target), exclusive_lock(self.folder / _FETCHING, wait=True):
            if self._is_here(folder) and not is_damaged:
                return
            self._require_free(folder)
            building = self.folder / _FETCHING / folder
            try:
                self._fetch_files(folder, building, {} if is_damaged else self._known_files())
                flush_tree(building)
            except OSError:  # others need the disk, too
                shutil.rmtree(building, ignore_errors=True)
                raise
            old = self.folder / _FETCHING / f".old-{secrets.token_hex(4)}"
            with suppress(FileNotFoundError):
                target.rename(old)  # whoever has mapped its files goes on reading them
            building.rename(target)
            flush_folder(self.folder)
            shutil.rmtree(old, ignore_errors=True)

    def _is_here(self, folder: str) -> bool:
        return _digest(self.folder / _name(folder)) == folder.rpartition("-")[2]

    def _require_free(self, folder: str) -> None:
        """Check that no generation of this machine alone has the name."""
        here = self.folder / _name(folder)
        if _digest(here) and not self._is_here(folder):
            raise StorageError(
                f"{here} is not the {_name(folder)} of {self.storage.url}.",
                f"If this machine alone has trained it, move {here} away.",
            )

    def _fetch_files(self, folder: str, building: Path, known: Mapping[str, Path]) -> None:
        manifest = self.storage.read(f"{_FOLDERS}/{folder}/{MANIFEST}") or b""
        digest = hashlib.sha256(manifest).hexdigest()[:_DIGITS]
        if digest != folder.rpartition("-")[2]:
            raise _damaged(f"{self.storage.url}/{_FOLDERS}/{folder}/{MANIFEST}", "manifest")
        files = _checked_files(manifest, folder)
        for path in (self.folder / _FETCHING).iterdir():
            if path.is_dir() and path != building:
                shutil.rmtree(path, ignore_errors=True)

        def gather(one: tuple[str, str]) -> None:
            file, expected = one
            path, key = building / file, f"{_FOLDERS}/{folder}/{file}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and hash_file(path) == expected:  # of a fetch that was killed
                return
            path.unlink(missing_ok=True)  # a link must not be written through
            with suppress(KeyError, OSError):  # the latter: this file system has no hard links
                os.link(known[expected], path)
                return
            if self.storage.download(key, path) != expected:
                path.unlink()
                raise _damaged(f"{self.storage.url}/{key}", expected)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(gather, files.items()))
        building.mkdir(exist_ok=True)
        (building / MANIFEST).write_bytes(manifest)

    def _known_files(self) -> dict[str, Path]:
        known: dict[str, Path] = {}
        for path in self.folder.glob(f"*/{MANIFEST}"):
            with suppress(OSError, ValueError):
                files = unseal(path.read_bytes())["files"]
                known |= {digest: path.parent / file for file, digest in files.items()}
        return known


Place: TypeAlias = Path | SharedFolder  # on this machine alone, or in a storage with copies here


def local_folder(place: Place) -> Path:
    """The folder of this machine."""
    return place.folder if isinstance(place, SharedFolder) else place


def place_name(place: Place) -> str:
    """Where generations lie, for people: a path or a URL."""
    return place.storage.url if isinstance(place, SharedFolder) else str(place)


def _checked_files(manifest: bytes, folder: str) -> Mapping[str, str]:
    files: Mapping[str, str] = unseal(manifest)["files"]  # none leads out of its folder
    for file in files:
        parts = PurePosixPath(file).parts
        if not parts or ".." in parts or "/".join(parts) != file:
            raise ArtefactError(f"{folder} has a file named {file[:80]!r}.")
    return files


def _damaged(key: str, expected: str) -> ArtefactError:
    return ArtefactError(
        f"{key} is altered: it is not {expected}.",
        "Publish it again: `serendip train`, or restore a backup.",
    )


def _digest(folder: Path) -> str:
    with suppress(OSError):
        return hash_file(folder / MANIFEST)[:_DIGITS]
    return ""


def _name(folder: str) -> str:
    return folder.rpartition("-")[0]


def _pointer(number: int) -> str:
    return f"{_POINTERS}/{number:010}"


def _number(text: str, sign: str) -> int:
    digits = text.rpartition(sign)[2]
    return int(digits) if digits.isdecimal() else 0
