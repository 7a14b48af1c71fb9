"""Objects in a bucket of S3, of a service that speaks its protocol, or of Google Cloud Storage.

``obstore`` is used, and not the file systems of Arrow, because a pointer needs a conditional put:
``If-None-Match`` and ``If-Match`` on S3, the generation of the object on Google Cloud. Credentials
come from the environment, as with Arrow: keys, web identities, roles of containers and machines.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from serendip.data.objects.object_store import ObjectStore, StoredValue
from serendip.errors import ConfigError, ExtraMissing, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

_PART = 16 << 20
"""Bytes of one request of a download or an upload."""

_AT_ONCE = 4
_SMALL_S, _LARGE_S = 5, 120
"""Longest seconds of a request for a pointer, and of one for a part of a file; after so many no
further attempt is made."""

_SILENT_S = 10.0
"""Seconds for which nothing is read from a bucket that did not answer: a start reads several times,
and goes on with the copies here."""

_CHECK = "Check the bucket, the credentials in the environment and the network."
_SCHEMES = ("s3", "s3a", "gs")


@dataclass(slots=True)
class _Reach:
    """Whether a bucket answered of late; all places of a URL share it.

    Attributes:
        silent_until: moment of ``time.monotonic`` until which it is taken not to answer.
    """

    silent_until: float = 0.0


class Bucket:
    """Objects below a prefix of a bucket.

    Args:
        url: of the prefix.
        small: client for pointers, lists and removals.
        large: client for files.
        folder: below the prefix, empty or with a slash at its end.
        reach: of the bucket; None = nothing is known.
    """

    def __init__(
        self,
        url: str,
        small: Client,
        large: Client,
        folder: str = "",
        reach: _Reach | None = None,
    ) -> None:
        self._url, self._small, self._large, self._folder = url, small, large, folder
        self._reach = reach or _Reach()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a bucket by the URL of a prefix in it.

        Raises:
            ConfigError: the scheme is unknown, or the URL or a variable of the environment wrong.
            ExtraMissing: the extra ``s3`` is not installed.
        """
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            raise ExtraMissing(
                f"{url} needs the extra `s3`, which is not installed.",
                'Run `pip install "serendip[s3]"`.',
            ) from None
        if url.partition("://")[0] not in _SCHEMES:
            raise ConfigError(
                f"{url} is no place that can be used.",
                "Give s3://bucket/prefix, gs://bucket/prefix or a folder.",
            )

        def client(timeout_s: int) -> Any:
            # A variable of the environment may name a server without TLS, which S3 itself is not.
            options: Any = {"timeout": f"{timeout_s}s", "connect_timeout": "5s", "allow_http": True}
            retries: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=timeout_s)}
            return from_url(url, client_options=options, retry_config=retries)

        try:
            return cls(url.rstrip("/"), client(_SMALL_S), client(_LARGE_S))
        except (BaseError, ValueError) as error:
            raise ConfigError(f"{url} cannot be used: {_first_line(error)}.") from None

    @property
    def name(self) -> str:
        """URL of the prefix."""
        return f"{self._url}/{self._folder}".rstrip("/")

    def within(self, folder: str) -> ObjectStore:
        """The objects below a folder of this place."""
        return Bucket(self._url, self._small, self._large, f"{self._folder}{folder}/", self._reach)

    def read(self, key: str) -> StoredValue | None:
        """A small object; None if there is none."""
        with self._reading("read", key):
            try:
                found = self._small.get(self._folder + key)
                content, meta = bytes(found.bytes()), found.meta
            except FileNotFoundError:
                return None
        tag = _tag(meta["e_tag"], meta["version"])
        return StoredValue(content, tag, meta["last_modified"].timestamp())

    def replace(self, key: str, content: bytes, tag: str | None) -> bool:
        """Write a small object by a conditional put; False = another writer came first."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if tag is None else _condition(tag)
        with self._errors("written", key):
            try:
                self._small.put(self._folder + key, content, mode=mode)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                # The answer to a first attempt may have been lost: then it is ours that is there.
                found = self.read(key)
                return found is not None and found.content == content
        return True

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file, in parts if it is large; it appears at its end."""
        with self._errors("written", key):
            self._large.put(self._folder + key, path, chunk_size=_PART, max_concurrency=_AT_ONCE)

    def stream(self, key: str) -> Iterator[bytes]:
        """The content of an object, part by part, each in a request of its own."""
        with self._reading("read", key, missing=True):
            size = self._small.head(self._folder + key)["size"]
        for start in range(0, size, _PART):
            with self._errors("read", key, missing=True):
                part = self._large.get_range(
                    self._folder + key, start=start, length=min(_PART, size - start)
                )
            yield bytes(part)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of all objects whose keys begin with a prefix."""
        folder, _, _ = f"{self._folder}{prefix}".rpartition("/")
        with self._reading("listed", prefix):
            found = [one for page in self._small.list(folder or None) for one in page]
        sizes = {one["path"].removeprefix(self._folder): one["size"] for one in found}
        return {key: size for key, size in sizes.items() if key.startswith(prefix)}

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        names = [self._folder + key for key in keys]
        if names:
            with self._errors("removed", names[0]):
                self._small.delete(names)

    def remove_parts(self, prefix: str) -> None:
        """Nothing: a lifecycle rule of the bucket removes parts of uploads."""

    @contextmanager
    def _reading(self, done: str, key: str, missing: bool = False) -> Iterator[None]:
        """``_errors``, at once if the bucket did not answer a moment ago."""
        begun = time.monotonic()
        if begun < self._reach.silent_until:
            raise StorageError(f"{self.name}/{key} cannot be {done}: it does not answer.", _CHECK)
        try:
            with self._errors(done, key, missing):
                yield
        except StorageError:
            if time.monotonic() - begun > _SMALL_S / 2:
                self._reach.silent_until = time.monotonic() + _SILENT_S
            raise
        self._reach.silent_until = 0.0

    @contextmanager
    def _errors(self, done: str, key: str, missing: bool = False) -> Iterator[None]:
        """Errors of the client as ours.

        Args:
            done: what should have been done to the object.
            key: of it.
            missing: whether a missing object is the caller's matter.
        """
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            raise StorageError(
                f"{self.name}/{key} cannot be {done}: {_first_line(error)}.",
                _CHECK,
            ) from None


def _tag(e_tag: str | None, version: str | None) -> str:
    return f"{e_tag or ''}\n{version or ''}"


def _condition(tag: str) -> dict[str, str]:
    """What ``_tag`` was made of, as the client takes it."""
    e_tag, _, version = tag.partition("\n")
    return {**({"e_tag": e_tag} if e_tag else {}), **({"version": version} if version else {})}


def _first_line(error: Exception) -> str:
    """The beginning of a message; the client repeats its whole configuration below it."""
    return str(error).partition("\n")[0][:300].rstrip(".")
