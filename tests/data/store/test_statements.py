import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from serendip.data.events.event import Event
from serendip.data.store import schema
from serendip.data.store.schema import METADATA
from serendip.data.store.upsert import ManyRows


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_tables_can_be_created_on_postgresql(table):
    ddl = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    assert f"CREATE TABLE {table.name}" in ddl
    assert ("BIGSERIAL" in ddl) == (table.name == "events")


@pytest.mark.parametrize("origin", ["file", "api"])
def test_statements_compile_for_postgresql(origin):
    dialect = postgresql.dialect()
    upsert = str(schema.upsert_items("postgresql", origin).compile(dialect=dialect))
    assert "ON CONFLICT (item_id) DO UPDATE" in upsert
    assert ("IS DISTINCT FROM" in upsert) == (origin == "file")
    insert = str(schema.insert_events("postgresql").statement.compile(dialect=dialect))
    assert "ON CONFLICT (event_id) DO NOTHING" in insert
    for name in (
        "HISTORY",
        "PAST",
        "QUERIES",
        "USERS",
        "TOP_USERS",
        "EVENT_MARK",
        "ITEM_CHANGES",
        "TOMBSTONE",
    ):
        assert str(getattr(schema, name).compile(dialect=dialect))


def test_values_reach_their_columns_whatever_the_order_of_the_names() -> None:
    names = list(reversed(schema.EVENT_NAMES))
    insert = ManyRows("sqlite", schema.EVENTS, names, "event_id")
    row = schema.event_row(Event("u", "i", 1.0, "click", 2.0, country="NL", event_id="e"))
    with create_engine("sqlite://").begin() as connection:
        schema.EVENTS.create(connection)
        assert insert.run(connection, [row]) == 1
        stored = connection.execute(schema.EVENTS.select()).mappings().one()
    assert {name: stored[name] for name in names} == row
