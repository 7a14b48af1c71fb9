"""Stores on both databases: a test that asks for ``store`` or ``place`` runs on each."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PostgresServer, StorePlace

from serendip.data.store.event_log.pack_writer import PackWriter
from serendip.data.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlace:
    """A place without rows."""
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
    return StorePlace(tmp_path, server)


@pytest.fixture
def file_place(tmp_path: Path) -> StorePlace:
    """A place on SQLite, for what a server needs no second proof of."""
    return StorePlace(tmp_path)


@pytest.fixture
def store(place: StorePlace) -> Iterator[Store]:
    """A store without rows."""
    with closing(place.create()) as opened:
        yield opened


@pytest.fixture
def file_store(file_place: StorePlace) -> Iterator[Store]:
    """A store without rows on SQLite, for tests about the file."""
    with closing(file_place.create()) as opened:
        yield opened


@pytest.fixture
def after_a_pack(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done whenever a pack is written and does not count yet."""

    def begin(act: Callable[[], object]) -> None:
        write = PackWriter._write

        def write_slowly(self: PackWriter, *arguments: Any) -> Any:
            written = write(self, *arguments)
            act()
            return written

        monkeypatch.setattr(PackWriter, "_write", write_slowly)

    return begin
