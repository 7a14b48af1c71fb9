import shutil
from contextlib import closing
from pathlib import Path

import pytest
from commands import serendip_here
from postgres_server import PostgresServer
from sqlalchemy import inspect

from serendip.data import Event, Item
from serendip.data.store import migrations
from serendip.data.store.config import DATABASE_FILE, DatabasePlace
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.engine.workspace import Workspace
from serendip.errors import StorageError
from serendip.jobs.backup.restore import restore
from serendip.jobs.backup.save import back_up

NEXT = str(int(migrations.HEAD) + 1)
REVISION = f"""
import sqlalchemy
from alembic import op

revision = "{NEXT}"
down_revision = "{migrations.HEAD}"


def upgrade() -> None:
    op.add_column("items", sqlalchemy.Column("colour", sqlalchemy.Text))
"""
BROKEN = REVISION + "    op.execute('SELECT 1 FROM nowhere')\n"


def move_head(monkeypatch: pytest.MonkeyPatch, folder: Path, revision: str = REVISION) -> None:
    shutil.copytree(migrations.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"r{NEXT}_colour.py").write_text(revision)
    monkeypatch.setattr(migrations, "FOLDER", folder)
    monkeypatch.setattr(migrations, "HEAD", NEXT)


def columns_of(place: DatabasePlace) -> set[str]:
    with closing(open_database(place)) as database, database.read() as connection:
        return {column["name"] for column in inspect(connection).get_columns("items")}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> DatabasePlace:
    """A database with an item and an event, closed."""
    name: DatabasePlace = tmp_path / DATABASE_FILE
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = server.new_url()
    with closing(Store.create(name)) as store:
        store.put_items([Item("a", "Lamp")])
        store.put_events([Event("u", "a", 1.0)])
    return name


def test_a_known_earlier_revision_is_upgraded_and_nothing_of_it_is_lost(
    place: DatabasePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrations.HEAD
    move_head(monkeypatch, tmp_path / "migrations")
    told = rf"of an earlier version.*{before}.*{NEXT}.*`serendip import`"
    with pytest.raises(StorageError, match=told):
        Store.open(place)
    assert "colour" not in columns_of(place)
    Store.create(place).close()
    assert "colour" in columns_of(place)
    for open_store in (Store.open, Store.create):
        with closing(open_store(place)) as store:
            assert (store.count_items(), store.log.history("u", 9)) == (1, [Event("u", "a", 1.0)])


def test_a_revision_that_fails_changes_nothing(
    place: DatabasePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_head(monkeypatch, tmp_path / "migrations", BROKEN)
    with pytest.raises(StorageError, match="nowhere"):
        Store.create(place)
    assert "colour" not in columns_of(place)
    monkeypatch.undo()
    with closing(Store.open(place)) as store:
        assert store.log.count() == 1


def test_a_database_that_lacks_a_column_is_refused_when_it_is_opened(place: DatabasePlace) -> None:
    with closing(open_database(place)) as database, database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE events DROP COLUMN device")
    told = rf"has revision {migrations.HEAD}, but no column events\.device\..*backup"
    for open_store in (Store.open, Store.create):
        with pytest.raises(StorageError, match=told):
            open_store(place)


def test_an_import_upgrades_a_database_even_without_its_files(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_head(monkeypatch, tmp_path / "migrations")
    refused = serendip_here("train", "-w", fresh)
    assert refused.returncode == StorageError.exit_code
    assert "is of an earlier version" in refused.stderr
    workspace = Workspace.open(fresh)
    (fresh / workspace.settings.items.path).unlink()
    assert serendip_here("import", "-w", fresh).returncode != 0
    with closing(workspace.open_store()) as store:
        assert store.count_items() > 0


def test_an_earlier_backup_is_restored_in_the_present_version(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(Workspace.open(fresh), str(tmp_path / "saved"))
    move_head(monkeypatch, tmp_path / "migrations")
    summary = restore(str(tmp_path / "saved"), tmp_path / "new")
    assert summary.items > 0
    assert "colour" in columns_of(tmp_path / "new" / DATABASE_FILE)
