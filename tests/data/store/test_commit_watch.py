from contextlib import closing
from pathlib import Path

from postgres_server import PostgresServer, StorePlace

from serendip.data.events.event import Event
from serendip.data.store.store import Store


def test_the_number_changes_with_every_write_of_any_process(place: StorePlace) -> None:
    with closing(place.create()) as store, closing(place.open()) as other:
        database = store.database
        first = database.commit_number()
        assert first is not None
        assert database.commit_number() == first
        store.log.position()  # reading changes nothing
        assert database.commit_number() == first
        store.put_events([Event("u", "a", 1.0, "click")])
        second = database.commit_number()
        assert second != first
        other.put_events([Event("u", "b", 2.0, "click")])
        third = database.commit_number()
        assert third not in (first, second)
        assert database.commit_number() == third


def test_a_closed_store_does_not_keep_the_file_open(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "events.db")
    assert store.database.commit_number() is not None
    store.close()
    assert not (tmp_path / "events.db-wal").exists()


def test_a_server_that_starts_again_is_watched_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with closing(Store.create(postgres_server.empty_url())) as store:
        before = store.database.commit_number()
        postgres_server.stop()
        assert store.database.commit_number() is None
        assert "database postgres" in store.database.problem()
        postgres_server.start()
        store.put_events([Event("u", "a", 1.0)])  # the pool sees that its connections are gone
        assert store.database.problem() == ""
        assert store.database.commit_number() not in (None, before)
        assert store.log.count() == 1
