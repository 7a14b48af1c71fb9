"""Stores on both databases: a test that asks for ``store`` or ``place`` runs on each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import PostgresServer, StorePlace

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
