"""The number of the last commit changes with every commit of any connection, and only then."""

from __future__ import annotations

from pathlib import Path

from serendip.data.event import Event
from serendip.data.store.store import Store


def test_the_number_changes_with_every_write_of_any_process(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "events.db")
    other = Store.open(tmp_path / "events.db")
    log = store.log
    first = log.commit_number()
    assert first is not None
    assert log.commit_number() == first
    log.mark()  # reading changes nothing
    assert log.commit_number() == first
    store.put_events([Event("u", "a", 1.0, "click")])
    second = log.commit_number()
    assert second != first
    other.put_events([Event("u", "b", 2.0, "click")])
    third = log.commit_number()
    assert third not in (first, second)
    assert log.commit_number() == third
    other.close()
    store.close()


def test_a_closed_store_does_not_keep_the_file_open(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "events.db")
    assert store.log.commit_number() is not None
    store.close()
    assert not (tmp_path / "events.db-wal").exists()
