import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from serendip.data.store import schema
from serendip.data.store.schema import METADATA


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_tables_can_be_created_on_postgresql(table):
    ddl = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    assert f"CREATE TABLE {table.name}" in ddl
    assert ("BIGSERIAL" in ddl) == (table.name == "events")


@pytest.mark.parametrize("origin", ["file", "api"])
def test_a_file_replaces_only_what_differs(origin):
    dialect = postgresql.dialect()
    upsert = str(schema.upsert_items("postgresql", origin).compile(dialect=dialect))
    assert "ON CONFLICT (item_id) DO UPDATE" in upsert
    assert ("IS DISTINCT FROM" in upsert) == (origin == "file")
