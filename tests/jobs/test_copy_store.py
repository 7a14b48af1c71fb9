"""A database that is copied to a server and back is the same; what cannot be copied is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import serendip_here
from postgres_server import PostgresServer

from serendip.data.api_key import issue_key
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.database import open_database
from serendip.data.store.migrations import VERSION_TABLE
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.data.store.tables.generated import Generated
from serendip.data.users.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.jobs.backup.restore import restore
from serendip.jobs.backup.save import back_up
from serendip.jobs.copy_store import copy_store
from serendip.jobs.doctor import check_workspace
from serendip.llm.ledger import Call, Ledger
from serendip.runtime.progress import SilentProgress

VARIABLE = "SERENDIP_STORE__URL"
SILENT = SilentProgress()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with rows in every table."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "serendip.toml").write_text("")
    workspace = Workspace.open(folder)
    with closing(workspace.create_store()) as store:
        items = [
            Item("a", "Lamp", "", {"price": 12.5, "kind": ("x", "é")}),
            Item("b", "Ö", "", {}, 3.5),
        ]
        store.import_all([*items, Item("gone")], [Event("u", "a", 1.0), Event("v", "b", 2.0)])
        store.put_events([Event("u", "a", 3.0, event_id="e1"), Event("w", "b", 4.5, value=0.1)])
        store.pack()
        store.put_events([Event("u", "b", 5.0, query="o'clock", event_id="e2", position=3)])
        store.put_events([Event("Z", "b", 6.0), Event("é", "b", 6.0), Event("a", "b", 6.0)])
        store.delete_item("gone")
        store.users.put(User("u", {"country": "France"}))
        store.erase_user("v", 10.0)
        store.generated.put([Generated("value", "a", "colour", "rules", "red", "m", "p", "d")])
    with closing(ApiKeys.open(workspace.database)) as keys:
        keys.add(issue_key("shop", ["read"]))
    with closing(Ledger.open(workspace.database)) as ledger:
        ledger.send(Call("job", "prompt", "digest", "model", "data"), 0.5, 1.0)
    return folder


def test_commands_refuse_a_server_s_database_of_a_later_version_by_name(
    postgres_server: PostgresServer,
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = postgres_server.new_url()
    Store.create(url).close()
    schema = url.rpartition("%3D")[2]
    postgres_server.execute(f"UPDATE {schema}.{VERSION_TABLE} SET version_num = '9999'")

    def refuse(*words: str) -> None:
        done = serendip_here(*words, "-w", fresh)
        assert done.returncode == StorageError.exit_code
        assert "is of another version: it has revision 9999" in done.stderr
        assert "Use the version of Serendip that made it" in done.stderr
        assert "Traceback" not in done.stderr

    refuse("store", "copy", "--to", url)
    with closing(Workspace.open(fresh).open_store()) as store:
        assert store.database.problem() == ""  # it is not moved
    monkeypatch.setenv(VARIABLE, url)
    refuse("import")


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.empty_url()


def told(folder: Path) -> list[object]:
    """What a workspace says of everything that it has."""
    workspace = Workspace.open(folder)
    with (
        closing(workspace.open_store()) as store,
        closing(ApiKeys.open(workspace.database)) as keys,
        closing(Ledger.open(workspace.database)) as ledger,
    ):
        tables, changes = store.tables(), store.item_changes(0)
        return [
            *(tables.items, tables.users, tables.events.to_pylist(), store.log.mark()),
            *(
                changes.items,
                changes.deleted,
                changes.version,
                store.erasures(),
                store.generated.rows(),
            ),
            *(keys.read(), ledger.summary(), store.totals().users(9), store.queries()),
        ]


@pytest.fixture
def on_server(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workspace after its move to the server."""
    copy_store(Workspace.open(folder), url)
    (folder / "serendip.db").unlink()
    monkeypatch.setenv(VARIABLE, url)
    yield folder


def test_it_is_the_same_on_the_server_and_back_in_a_file(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told(folder)
    there = copy_store(Workspace.open(folder), url)
    assert {one.name: one.rows for one in there.tables}["events"] == 4
    empty = {one.name for one in there.tables if not one.rows}
    assert empty == {"copies"}
    (folder / "serendip.db").unlink()
    monkeypatch.setenv(VARIABLE, url)
    assert told(folder) == before
    back = copy_store(Workspace.open(folder), "file")
    assert back.tables == there.tables
    monkeypatch.delenv(VARIABLE)
    assert told(folder) == before
    left = {path.name for path in folder.glob("serendip.db*")}
    assert left == {"serendip.db", "serendip.db-packs.lock"}


def test_who_still_has_the_old_database_is_refused(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, event = Workspace.open(folder), Event("u", "a", 7.0)
    refused = r"was moved to .*, so nothing is written here\. Let \[store\] url name the new one"
    with closing(workspace.open_store()) as old, closing(ApiKeys.open(workspace.database)) as keys:
        copy_store(workspace, url)
        monkeypatch.setenv(VARIABLE, url)
        with closing(Workspace.open(folder).open_store()) as new:
            assert new.put_events([event]) == 1
            assert new.pack() == 5
            for write in (
                lambda: old.put_events([event]),
                old.pack,
                lambda: old.erase_user("u"),
                lambda: keys.add(issue_key("other", ["read"])),
                lambda: copy_store(workspace, url),
            ):
                with pytest.raises(StorageError, match=refused):
                    write()
            assert "was moved to" in old.database.problem()
            assert old.count_items() == 2
            assert new.database.problem() == ""
            assert new.count_events() == 8
    (folder / "serendip.db").unlink()
    copy_store(Workspace.open(folder), "file")
    with closing(Workspace.open(folder).open_store()) as moved:
        with pytest.raises(StorageError, match=r"was moved to serendip\.db"):
            moved.put_events([event])
    monkeypatch.delenv(VARIABLE)
    with closing(Workspace.open(folder).open_store()) as back:
        assert back.put_events([Event("u", "a", 8.0)]) == 1


def test_numbers_go_on_where_they_were(on_server: Path) -> None:
    workspace = Workspace.open(on_server)
    with closing(workspace.open_store()) as store:
        seq = store.log.mark().seq
        assert store.put_events([Event("u", "a", 7.0), Event("u", "a", 3.0, event_id="e1")]) == 1
        assert store.log.mark().seq == seq + 1
        assert store.put_events([Event("v", "a", 9.0)]) == 0  # erased, as before
        assert store.pack() == 5
    with closing(Ledger.open(workspace.database)) as ledger:
        assert ledger.send(Call("job", "prompt", "digest", "model", "more"), 0.1, 1.0) == 2


def test_a_database_with_rows_and_a_file_that_exists_are_no_targets(folder: Path, url: str) -> None:
    workspace = Workspace.open(folder)
    with pytest.raises(ConfigError, match=r"serendip\.db exists"):
        copy_store(workspace, "file")
    with pytest.raises(ConfigError, match="no URL of a PostgreSQL database") as told:
        copy_store(workspace, "mysql://me:hush@host/shop")
    assert "hush" not in str(told.value)
    with closing(Store.open(url)) as store:
        store.put_items([Item("x")])
    with pytest.raises(StorageError, match="is not empty: table items has rows"):
        copy_store(workspace, url)


def test_a_text_that_the_server_cannot_store_is_refused_and_nothing_is_left(
    folder: Path, url: str
) -> None:
    with closing(open_database(folder / "serendip.db")) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE llm_calls SET failure = 'a' || char(0) || 'b'")
    with pytest.raises(StorageError, match="PostgreSQL text fields cannot contain NUL"):
        copy_store(Workspace.open(folder), url)
    with closing(Store.open(url)) as store:
        assert (store.items(), store.meta("user changes"), store.count_events()) == ([], "", 0)


def test_a_backup_of_a_server_is_restored_into_a_file_or_onto_a_server(
    on_server: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, place = told(on_server), on_server.with_name("backup")
    assert all(one["status"] != "FAIL" for one in check_workspace(Workspace.open(on_server)))
    back_up(Workspace.open(on_server), str(place), SILENT)
    with closing(Workspace.open(on_server).open_store()) as store:
        store.erase_user("u", 20.0)
        assert store.has_remains()
        store.remove_erased()
        assert not store.has_remains()
    restored = on_server.with_name("restored")
    with pytest.raises(ConfigError, match="the settings name a database on a server"):
        restore(str(place), restored, SILENT)
    assert not restored.exists()
    url = postgres_server.new_url()
    summary = restore(str(place), restored, SILENT, on_server, database=url)
    assert summary.erased_users == 1
    assert not (restored / "serendip.db").exists()
    monkeypatch.setenv(VARIABLE, url)
    with closing(Workspace.open(restored).open_store()) as store:
        assert store.history("u", 9) == []
        assert len(store.history("w", 9)) == 1
    with pytest.raises(StorageError, match="is not empty"):
        restore(str(place), on_server.with_name("again"), SILENT, database=url)
    assert not on_server.with_name("again").exists()
    monkeypatch.setenv(VARIABLE, "")
    restore(str(place), on_server.with_name("file"), SILENT)
    assert told(on_server.with_name("file"))[:3] == before[:3]
