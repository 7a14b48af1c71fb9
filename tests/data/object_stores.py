"""Places for tests: a bucket of a real server of the S3 protocol, and one that is killed."""

from __future__ import annotations

import os
import secrets
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serendip.data.objects.object_store import ObjectStore, StoredValue

BUCKET = "shop"


@contextmanager
def s3_server() -> Iterator[str]:
    """A running server that the environment names; yields the URL of a prefix in a bucket."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        request = urllib.request.Request(f"http://{host}:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        # A prefix of its own: clients are kept by URL for as long as the process lives.
        yield f"s3://{BUCKET}/{secrets.token_hex(4)}"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()


class Killed(BaseException):
    """The process ends here: nothing that it would do afterwards happens."""


def raise_killed() -> None:
    raise Killed


class MortalStore:
    """A place whose user is killed just before a change of it.

    Args:
        store: that does everything.
        changes: that are still made; None = all.
        kill: ends the user.
    """

    def __init__(
        self, store: ObjectStore, changes: list[int | None], kill: Callable[[], None]
    ) -> None:
        self._store, self._changes, self._kill = store, changes, kill

    @property
    def name(self) -> str:
        return self._store.name

    def read(self, key: str) -> StoredValue | None:
        return self._store.read(key)

    def stream(self, key: str) -> Iterator[bytes]:
        return self._store.stream(key)

    def sizes(self, prefix: str) -> dict[str, int]:
        return self._store.sizes(prefix)

    def replace(self, key: str, content: bytes, tag: str | None) -> bool:
        self._count()
        return self._store.replace(key, content, tag)

    def upload(self, key: str, path: Path) -> None:
        self._count()
        self._store.upload(key, path)

    def remove(self, keys: Iterable[str]) -> None:
        self._count()
        self._store.remove(keys)

    def remove_parts(self, prefix: str) -> None:
        self._store.remove_parts(prefix)

    def within(self, folder: str) -> ObjectStore:
        return MortalStore(self._store.within(folder), self._changes, self._kill)

    def _count(self) -> None:
        if self._changes[0] is not None:
            self._changes[0] -= 1
            if self._changes[0] < 0:
                self._kill()
