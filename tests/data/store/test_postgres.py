import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from postgres_server import PostgresServer
from sqlalchemy import inspect

from serendip.config import validate
from serendip.data import Event, Item
from serendip.data.store.config import StoreConfig
from serendip.data.store.database import open_database
from serendip.data.store.migrations import HEAD, VERSION_TABLE
from serendip.data.store.schema import METADATA
from serendip.data.store.store import Store
from serendip.errors import ConfigError, LostConnectionError, StorageError
from serendip.llm.ledger import Ledger


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.empty_url()


def test_a_new_database_has_exactly_the_tables_that_the_code_declares(
    postgres_server: PostgresServer,
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = postgres_server.new_url()
    Store.create(url).close()
    with closing(open_database(url)) as database, database.read() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
        names = set(inspect(connection).get_table_names())
        assert names == {*METADATA.tables, VERSION_TABLE}


def test_the_head_that_services_know_is_the_last_revision() -> None:
    from alembic.script import ScriptDirectory

    from serendip.data.store import migrations

    folder = Path(migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_a_database_without_tables_is_not_opened(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_url()
    assert not Store.exists(url)
    with pytest.raises(StorageError, match="has no tables"):
        Store.open(url)
    assert not Store.exists(url)


def test_processes_that_create_the_tables_at_once_agree(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url, problems = postgres_server.new_url(), []

    def create() -> None:
        try:
            Store.create(url).close()
        except StorageError as error:
            problems.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert Store.exists(url)


def test_of_a_commit_on_a_lost_connection_nobody_says_that_nothing_was_stored(
    postgres_server: PostgresServer, url: str
) -> None:
    with closing(Store.create(url)) as store:
        with pytest.raises(LostConnectionError) as lost, store.database.write() as connection:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            postgres_server.execute(f"SELECT pg_terminate_backend({number}, 5000)")
        assert "not known" in lost.value.outcome and "event_id" in lost.value.hint
        with pytest.raises(StorageError) as failed, store.database.write() as connection:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            postgres_server.execute(f"SELECT pg_terminate_backend({number}, 5000)")
            connection.exec_driver_sql("SELECT 1")
        assert failed.value.outcome == "Nothing was stored."
        assert store.put_events([Event("u", "i", 1.0)]) == 1


def test_one_process_of_all_machines_does_a_thing_at_a_time(url: str, tmp_path: Path) -> None:
    with (
        closing(Store.open(url)) as store,
        closing(Store.open(url, busy_timeout_s=0.2)) as other,
    ):
        store.put_events([Event("u", "a", 1.0)])
        with store.database.exclusive("training"):
            with (
                pytest.raises(StorageError, match="another process holds the lock `training`"),
                other.database.exclusive("training"),
            ):
                raise AssertionError
            with other.database.exclusive("generations"):
                assert other.log.count() == 1
        with other.database.exclusive("training"), store.database.exclusive("packs"):
            with pytest.raises(StorageError, match="the lock `packs`"):
                other.pack()


@contextmanager
def deaf_to_goodbyes(server: str, folder: Path) -> Iterator[str]:
    """A socket in a folder that leads to a server, which never learns that a client has gone."""
    ways: list[socket.socket] = []

    def forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if data[:1] != b"X":  # the message that ends a session
                    target.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(server)
                ways.extend((client, there))
                for pair in ((client, there), (there, client)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / Path(server).name))
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()
        yield str(folder)
    for way in ways:
        way.close()


def test_a_lock_is_free_as_soon_as_it_is_given_back(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    host = parse_qs(urlsplit(url).query)["host"][0]
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # names of sockets have few characters
    with deaf_to_goodbyes(str(postgres_server.socket), short) as proxy:
        place = url.replace(host, proxy)
        with closing(Store.open(place)) as store:
            for _ in range(2):
                with store.database.exclusive("training"):
                    pass
    shutil.rmtree(short)


def test_a_lock_that_was_lost_stops_what_it_guards(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    with (
        closing(Store.open(url)) as store,
        pytest.raises(StorageError, match=r"the lock `it` of database postgres was lost") as told,
        store.database.exclusive("it") as require_held,
    ):
        require_held()
        postgres_server.end_locks()
        require_held()
        raise AssertionError
    assert "run the command again" in told.value.hint


def test_a_lock_that_was_lost_after_what_it_guards_is_logged(
    postgres_server: PostgresServer,
    url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(Store.open(url)) as store:
        with store.database.exclusive("it") as require_held:
            require_held()
            postgres_server.end_locks()
        assert "the lock `it` of database postgres was lost" in caplog.text
        with store.database.exclusive("it"):  # another connection
            assert store.log.count() == 0


def test_two_workspaces_in_two_schemas_do_not_wait_for_each_other(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    other_url = postgres_server.new_url()
    Store.create(other_url).close()
    with (
        closing(open_database(url)) as database,
        database.write(),
        closing(Store.open(other_url, 0.1)) as other,
    ):
        assert other.put_events([Event("u", "a", 1.0)]) == 1


def test_what_the_server_refuses_is_told_without_its_url(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    wrong = postgres_server.url("nowhere").replace("postgres@", "postgres:hush@")
    with pytest.raises(StorageError, match="lacks the schema") as told:
        Store.create(wrong)
    assert "hush" not in str(told.value)
    gone = "postgresql+psycopg://me:hush@/shop?host=/nowhere"
    with pytest.raises(StorageError, match="shop: its server cannot be reached") as told:
        Store.open(gone)
    assert "hush" not in str(told.value)
    assert "nowhere" not in told.value.message  # which health checks show
    with pytest.raises(ConfigError, match="url cannot be read"):
        Store.open("postgresql+psycopg://me@host:port/shop")


def test_a_url_of_another_kind_is_refused_at_the_door() -> None:
    for url in (
        "postgres://me:hush@host/shop",
        "postgresql+psycopg://me@host",
        "mysql://host/shop",
    ):
        with pytest.raises(ConfigError, match="give postgresql") as told:
            validate(StoreConfig, {"url": url}, "serendip.toml: [store]")
        assert "hush" not in str(told.value)
    config = StoreConfig(url="postgresql+psycopg://me:hush@host/shop")
    assert "hush" not in repr(config)
    assert config.place(Path("shop")) == config.url
    assert StoreConfig().place(Path("shop")) == Path("shop") / "serendip.db"


def test_more_rows_than_one_statement_takes_are_counted(url: str, tmp_path: Path) -> None:
    events = [Event(f"u{n}", "a", float(n), event_id=f"e{n}") for n in range(2_500)]
    with closing(Store.open(url)) as store:
        assert store.put_events(events[:1_200]) == 1_200
        assert store.put_events(events) == 1_300
        assert len(store.put_items([Item(f"i{n}") for n in range(1_500)]).items) == 1_500
        assert (store.log.count(), store.count_items()) == (2_500, 1_500)


def test_the_ledger_counts_on_a_server(url: str) -> None:
    from serendip.llm.ledger import Call

    call = Call("job", "prompt", "digest", "model", "data")
    with closing(Ledger.open(url)) as ledger:
        number = ledger.send(call, 0.5, 1.0)
        assert number == 1
        assert ledger.send(call, 0.75, 1.0) is None
        ledger.finish(number, "answer", 1.5, (10, 20, 0.25))
        assert ledger.answers(call, ["data"]) == {"data": "answer"}
        (row,) = ledger.summary()
        assert (row["calls"], row["tokens_sent"], row["price"]) == (1, 10, 0.25)
        assert all(isinstance(row[name], int) for name in ("ok", "tokens_sent", "unfinished"))
