from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import serendip_here
from postgres_server import PostgresServer

from serendip.data import Event, Item
from serendip.data.api_key import issue_key
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
from serendip.jobs.doctor import check_workspace
from serendip.llm.ledger import Call, Ledger

VARIABLE = "SERENDIP_STORE__URL"


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
    url, saved = postgres_server.new_url(), tmp_path / "saved"
    back_up(Workspace.open(fresh), str(saved))
    Store.create(url).close()
    schema = url.rpartition("%3D")[2]
    postgres_server.execute(f"UPDATE {schema}.{VERSION_TABLE} SET version_num = '9999'")

    def refuse(*words: str) -> None:
        done = serendip_here(*words, "-w", tmp_path / "new" if words[0] == "restore" else fresh)
        assert done.returncode == StorageError.exit_code
        assert "is of another version: it has revision 9999" in done.stderr
        assert "Use the version of Serendip that made it" in done.stderr
        assert "Traceback" not in done.stderr

    refuse("restore", str(saved), "--erasures-of", "none", "--database", url)
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
            *(tables.items, tables.users, tables.events.to_pylist(), store.log.position()),
            *(
                changes.items,
                changes.deleted,
                changes.version,
                store.erasures(),
                store.generated.rows(),
            ),
            *(keys.read(), ledger.summary(), store.log.active_users(9), store.log.queries()),
        ]


@pytest.fixture
def on_server(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workspace after its move to the server."""
    before = told(folder)
    back_up(Workspace.open(folder), str(folder.with_name("first")))
    moved = folder.with_name("moved")
    restore(str(folder.with_name("first")), moved, database=url)
    monkeypatch.setenv(VARIABLE, url)
    assert told(moved) == before
    yield moved


def test_numbers_go_on_where_they_were(on_server: Path) -> None:
    workspace = Workspace.open(on_server)
    with closing(workspace.open_store()) as store:
        seq = store.log.position().seq
        assert store.put_events([Event("u", "a", 7.0), Event("u", "a", 3.0, event_id="e1")]) == 1
        assert store.log.position().seq == seq + 1
        assert store.put_events([Event("v", "a", 9.0)]) == 0  # erased, as before
        assert store.pack() == 5
    with closing(Ledger.open(workspace.database)) as ledger:
        assert ledger.send(Call("job", "prompt", "digest", "model", "more"), 0.1, 1.0) == 2


def test_a_database_with_rows_is_no_target_and_no_password_is_shown(
    folder: Path, url: str, tmp_path: Path
) -> None:
    back_up(Workspace.open(folder), str(tmp_path / "saved"))
    wrong = "mysql://me:hush@host/shop"
    with pytest.raises(ConfigError, match="no URL of a PostgreSQL database") as refused:
        restore(str(tmp_path / "saved"), tmp_path / "new", database=wrong)
    assert "hush" not in str(refused.value)
    with closing(Store.open(url)) as store:
        store.put_items([Item("x")])
    with pytest.raises(StorageError, match="is not empty: table items has rows"):
        restore(str(tmp_path / "saved"), tmp_path / "new", database=url)
    assert not (tmp_path / "new").exists()


def test_a_text_that_the_server_cannot_store_is_refused_and_nothing_is_left(
    folder: Path, url: str, tmp_path: Path
) -> None:
    with closing(open_database(folder / "serendip.db")) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE llm_calls SET failure = 'a' || char(0) || 'b'")
    back_up(Workspace.open(folder), str(tmp_path / "saved"))
    with pytest.raises(StorageError, match="PostgreSQL text fields cannot contain NUL"):
        restore(str(tmp_path / "saved"), tmp_path / "new", database=url)
    with closing(Store.open(url)) as store:
        assert (store.items(), store.meta("user changes"), store.log.count()) == ([], "", 0)


def test_a_backup_of_a_server_is_restored_into_a_file_or_onto_a_server(
    on_server: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, place = told(on_server), on_server.with_name("backup")
    assert all(one["status"] != "FAIL" for one in check_workspace(Workspace.open(on_server)))
    back_up(Workspace.open(on_server), str(place))
    with closing(Workspace.open(on_server).open_store()) as store:
        store.erase_user("u", 20.0)
        assert store.has_remains()
        store.remove_erased()
        assert not store.has_remains()
    restored = on_server.with_name("restored")
    with pytest.raises(ConfigError, match="the settings name a database on a server"):
        restore(str(place), restored)
    assert not restored.exists()
    url = postgres_server.new_url()
    summary = restore(str(place), restored, on_server, database=url)
    assert summary.erased_users == 1
    assert not (restored / "serendip.db").exists()
    monkeypatch.setenv(VARIABLE, url)
    with closing(Workspace.open(restored).open_store()) as store:
        assert store.log.history("u", 9) == []
        assert len(store.log.history("w", 9)) == 1
    with pytest.raises(StorageError, match="is not empty"):
        restore(str(place), on_server.with_name("again"), database=url)
    assert not on_server.with_name("again").exists()
    monkeypatch.setenv(VARIABLE, "")
    restore(str(place), on_server.with_name("file"))
    assert told(on_server.with_name("file"))[:3] == before[:3]
