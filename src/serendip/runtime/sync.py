"""Generations in a storage that several machines share, with copies on each machine.

::

    storage.json               a random id, written at the first use: the marker of the storage
    pointers/0000000012        name of the folder in force; the highest number counts
    generations/gen-7-1f9a.../ files, then manifest.json; the name ends with the manifest's SHA-256

A pointer is made by a conditional put, so that of two machines that publish at once one is refused.
Folders never change, and no two have the same name. After a crash at any point the storage says the
old generation or the new one. A copy counts if its manifest is that of the storage; it is fetched
beside its place, each file compared with its SHA-256, and renamed. The credentials of ``obstore``
come from the environment.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
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
    """Objects below ``s3://bucket/prefix``, ``gs://bucket/prefix`` or the whole path of a folder.

    Safe to use from many threads. Every method raises ``StorageError`` if the storage cannot be
    reached or refuses the access, and ``ExtraMissing`` if the extra ``s3`` is not installed.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith("/") and url.partition("://")[0] not in _SCHEMES:
            raise ConfigError(
                f"{url} is no place that can be used.",
                "Give s3://bucket/prefix, gs://bucket/prefix or the whole path of a folder.",
            )
        self.url = url.rstrip("/")

    def read(self, key: str) -> bytes | None:
        """A small object; None if there is none."""
        if self.url.startswith("/") and not Path(self.url).is_dir():
            return None
        with self._errors("read", key), suppress(FileNotFoundError):
            return bytes(_client(self.url, _TIMEOUT_S).get(key).bytes())
        return None

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object; False = there is one."""
        from obstore.exceptions import AlreadyExistsError

        with self._errors("written", key):
            try:
                _client(self.url, _TIMEOUT_S).put(key, content, mode="create")
            except AlreadyExistsError:  # by us, if the answer to a first attempt was lost
                return self.read(key) == content
        return True

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        with self._errors("written", key):
            client = _client(self.url, _FILE_TIMEOUT_S)
            client.put(key, path, chunk_size=_PART, max_concurrency=_AT_ONCE)

    def upload_folder(self, prefix: str, folder: Path) -> None:
        """Write the files of a manifest, and last the manifest."""
        files = unseal((folder / MANIFEST).read_bytes())["files"]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda file: self.upload(prefix + file, folder / file), files))
        self.upload(prefix + MANIFEST, folder / MANIFEST)

    def download(self, key: str, path: Path) -> str:
        """Write the content of an object to a file; its SHA-256."""
        hashed = hashlib.sha256()
        with path.open("wb") as stream:
            with self._errors("read", key):
                size = _client(self.url, _TIMEOUT_S).head(key)["size"]
            for start in range(0, size, _PART):
                with self._errors("read", key):
                    length = min(_PART, size - start)
                    client = _client(self.url, _FILE_TIMEOUT_S)
                    part = bytes(client.get_range(key, start=start, length=length))
                hashed.update(part)
                stream.write(part)  # its error is one of this disk
        return hashed.hexdigest()

    def sizes(self, folder: str) -> dict[str, int]:
        """Key -> bytes of all objects in a folder."""
        with self._errors("listed", folder):
            pages = _client(self.url, _TIMEOUT_S).list(folder)
            return {one["path"]: one["size"] for page in pages for one in page}

    def remove(self, *keys: str) -> None:
        """Remove objects; those that are not there are no error."""
        for key in keys:
            with self._errors("removed", key), suppress(FileNotFoundError):
                _client(self.url, _TIMEOUT_S).delete(key)

    @contextmanager
    def _errors(self, done: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:  # the client repeats its configuration after a line
            yield
        except (BaseError, OSError, ValueError) as error:
            told = str(error).partition("\n")[0][:300].rstrip(".")
            raise StorageError(f"{self.url}/{key} cannot be {done}: {told}.", _CHECK) from None


@lru_cache(8)  # it keeps connections open
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
    """A folder of generations (``gen-7``) on this machine, and the storage that has them for all.

    Every method raises ``StorageError`` if the storage cannot be reached.
    """

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.folder, self.storage = folder, storage
        self._number, self._in_force = 0, ""  # of the last pointer; 0 = none was read
        self._problem, self._silent_until = "", 0.0  # why, and how long, it is not asked

    def fetch_in_force(self) -> str:
        """Bring the generation in force here if it is not; its name, empty = there is none.

        A storage that does not answer is logged once; what this machine has then counts.
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
        if folder:
            self.fetch(folder)
        return _name(folder)

    def in_force(self) -> str:
        """Name of the folder in the storage that is in force; empty = none is."""
        if not self._number:
            if not self.require_marker():
                return ""
            numbers = [_number(key, "/") for key in self.storage.sizes(_POINTERS)]
            self._number = max(0, max(numbers, default=0) - 1)
        while content := self.storage.read(f"{_POINTERS}/{self._number + 1:010}"):
            self._number += 1
            self._in_force = content.decode("ascii", "replace").partition("\n")[0]
        return self._in_force

    def put_in_force(self, folder: str) -> None:
        """Set the pointer; a ``ConflictError`` if another machine has since it was read."""
        content = f"{folder}\n{secrets.token_hex(16)}\n".encode("ascii")
        if not self.storage.create(f"{_POINTERS}/{self._number + 1:010}", content):
            raise ConflictError(
                f"another generation was published in {self.storage.url} meanwhile, so "
                f"{_name(folder)} was not.",
                "Look at it with `serendip status`, and run the command again if it is not enough.",
            )
        self._number, self._in_force = self._number + 1, folder

    def require_marker(self, may_write: bool = False) -> bool:
        """Whether the storage has a marker, which has to be the one that this machine knows.

        With ``may_write`` it is written into a storage that is used for the first time.
        """
        note, url = self.folder / _NOTE, self.storage.url
        known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        found = self.storage.read(_MARKER)
        if found is None and may_write and known.get("url") != url:
            if url.startswith("/"):
                Path(url).mkdir(parents=True, exist_ok=True)
            self.storage.create(_MARKER, json.dumps({"id": secrets.token_hex(16)}).encode())
            found = self.storage.read(_MARKER)
        marker = "" if found is None else hashlib.sha256(found).hexdigest()
        if known.get("url") == url and known["marker"] != marker:
            raise StorageError(
                f"{url} has not the {_MARKER} that it had: it is not mounted, or was "
                "emptied or replaced.",
                f"Mount it. If it was replaced on purpose, delete {note} on each machine.",
            )
        if marker and not known:
            with suppress(OSError):  # of a disk that takes no writes
                self.folder.mkdir(parents=True, exist_ok=True)
                write_synced(note, json.dumps({"url": url, "marker": marker}))
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
        """Write a complete generation into the storage; its folder there."""
        target = f"{name}-{_digest(building)}"
        self.storage.upload_folder(f"{_FOLDERS}/{target}/", building)
        return target

    def remove(self, folder: str) -> None:
        """Remove a folder from the storage, the manifest first: it never looks complete again."""
        self.storage.remove(f"{_FOLDERS}/{folder}/{MANIFEST}")
        self.storage.remove(*self.storage.sizes(f"{_FOLDERS}/{folder}"))

    def fetch(self, folder: str, is_damaged: bool = False) -> None:
        """Bring a generation here if it is not; what other copies here have is linked.

        Processes of this machine that want the same wait for the first one. With ``is_damaged`` a
        copy that is here is replaced. A file in the storage that is not what its manifest says is
        an ``ArtefactError``.
        """
        if self._is_here(folder) and not is_damaged:
            return
        target, fetching = self.folder / _name(folder), self.folder / _FETCHING
        with storage_errors(target), exclusive_lock(fetching, wait=True):
            if self._is_here(folder) and not is_damaged:
                return
            if _digest(target) and not self._is_here(folder):
                raise StorageError(
                    f"{target} is not the {_name(folder)} of {self.storage.url}.",
                    f"If this machine alone has trained it, move {target} away.",
                )
            for path in fetching.iterdir():  # of a fetch that was killed
                if path.is_dir():
                    shutil.rmtree(path)
            building, old = fetching / folder, fetching / ".old"
            try:
                self._fetch_files(folder, building, may_link=not is_damaged)
                flush_tree(building)
            except OSError:  # others need the disk, too
                shutil.rmtree(building, ignore_errors=True)
                raise
            with suppress(FileNotFoundError):
                target.rename(old)  # whoever has mapped its files goes on reading them
            building.rename(target)
            flush_folder(self.folder)
            shutil.rmtree(old, ignore_errors=True)

    def _is_here(self, folder: str) -> bool:
        return _digest(self.folder / _name(folder)) == folder.rpartition("-")[2]

    def _fetch_files(self, folder: str, building: Path, may_link: bool) -> None:
        known = dict[str, Path]()  # of other copies, by their digests
        for path in self.folder.glob(f"*/{MANIFEST}") if may_link else ():
            with suppress(OSError, ValueError):
                files = unseal(path.read_bytes())["files"]
                known |= {digest: path.parent / file for file, digest in files.items()}
        source = f"{_FOLDERS}/{folder}"
        manifest = self.storage.read(f"{source}/{MANIFEST}") or b""
        if hashlib.sha256(manifest).hexdigest()[:_DIGITS] != folder.rpartition("-")[2]:
            raise _damaged(f"{self.storage.url}/{source}/{MANIFEST}", "manifest")

        def gather(one: tuple[str, str]) -> None:
            file, expected = one
            if ".." in PurePosixPath(file).parts or file.startswith("/"):
                raise ArtefactError(f"{folder} has a file named {file[:80]!r}.")
            path = building / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(KeyError, OSError):  # the latter: this file system has no hard links
                os.link(known[expected], path)
                return
            if self.storage.download(f"{source}/{file}", path) != expected:
                raise _damaged(f"{self.storage.url}/{source}/{file}", expected)

        building.mkdir()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(gather, unseal(manifest)["files"].items()))
        (building / MANIFEST).write_bytes(manifest)


Place: TypeAlias = Path | SharedFolder  # on this machine alone, or in a storage with copies here


def local_folder(place: Place) -> Path:
    """The folder of this machine."""
    return place.folder if isinstance(place, SharedFolder) else place


def place_name(place: Place) -> str:
    """Where generations lie, for people: a path or a URL."""
    return place.storage.url if isinstance(place, SharedFolder) else str(place)


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


def _number(text: str, sign: str) -> int:
    digits = text.rpartition(sign)[2]
    return int(digits) if digits.isdecimal() else 0
