from __future__ import annotations

from contextlib import closing

from postgres_server import StorePlace
from sqlalchemy import inspect

from serendip.data.store.database import Database
from serendip.data.store.store import Store


def test_columns_are_those_that_an_inspection_of_each_table_finds(
    place: StorePlace, store: Store
) -> None:
    with closing(place.database()) as database, database.read() as connection:
        inspector = inspect(connection)
        expected = {
            name: {column["name"] for column in inspector.get_columns(name)}
            for name in inspector.get_table_names()
        }
        assert {"events", "items", "users"} <= expected.keys()
        assert database._backend.columns(connection) == expected


def test_a_file_without_tables_has_no_columns(file_place: StorePlace) -> None:
    with closing(Database(file_place.place, create=True)) as database:
        with database.read() as connection:
            assert database._backend.columns(connection) == {}
