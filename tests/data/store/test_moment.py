"""A store that is read as it was at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from postgres_server import StorePlace

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.moment import StoreMoment
from serendip.data.store.store import Store
from serendip.errors import StorageError

USERS = ("u", "v", "w")


def events(begin: int, count: int) -> list[Event]:
    """Events of three users in turn, not in the order of time."""
    return [
        Event(
            USERS[number % 3],
            f"i{number}",
            float(1_000 - number),
            "click" if number % 4 else "view",
        )
        for number in range(begin, begin + count)
    ]


def read(store: Store) -> list[object]:
    """What answers read of a store."""
    log = store.log
    pasts = [log.past(user, without)[0] for user in USERS for without in ((), ("view",))]
    changes = store.item_changes(0)
    return [
        log.mark(),
        [(past.item_ids, past.timestamps.tolist(), past.actions) for past in pasts],
        log.posted_after(3)[1].item_ids,
        log.after(2, 1_000)[2],
        log.count_after(1, ("view",)),
        [(item.item_id, item.title, item.attributes) for item in changes.items],
        (changes.after, changes.version, changes.deleted),
    ]


def write_moment(store: Store, folder: Path) -> list[str]:
    """Write the present moment to ``moment`` of a folder; users with events."""
    (folder / "moment").mkdir()
    return StoreMoment.write(store, 0, folder / "moment", ("view",))


@contextmanager
def held(store: Store, place: StorePlace, folder: Path) -> Iterator[Store]:
    """Another store on the same place, as it is now."""
    write_moment(store, folder)
    moment = StoreMoment.open(folder / "moment")
    with closing(place.open()) as later:
        moment.hold(later)
        yield later


def write(store: Store, number: int) -> None:
    """Change everything."""
    store.put_events(events(number * 100, 9))
    store.put_items([Item("i1", f"Title {number}"), Item(f"j{number}", "New")])
    store.delete_item("i2")


def test_a_store_is_read_as_it_was(store: Store, place: StorePlace, tmp_path: Path) -> None:
    store.put_items(
        [Item("i1", "One", attributes={"price": 2.5, "tags": ("a", "b")}), Item("i2", "Two")]
    )
    store.put_events(events(0, 20))
    store.pack()
    store.put_events(events(20, 7))
    expected = read(store)
    assert write_moment(store, tmp_path) == ["v", "w", "u"]
    moment = StoreMoment.open(tmp_path / "moment")
    for number in range(1, 4):  # the tail, a pack with events from before and after, more
        write(store, number)
        if number == 2:
            store.pack()
        with closing(place.open()) as later:
            moment.hold(later)
            assert read(later) == expected
            assert later.item_changes(moment.items.version).items == ()
        assert read(store) != expected


def test_erasures_hold_all_the_same_and_an_import_is_told(
    store: Store, place: StorePlace, tmp_path: Path
) -> None:
    store.put_events(events(0, 9))
    with held(store, place, tmp_path) as later:
        store.erase_user("v")
        store.put_events([Event("v", "i1", 2_000.0, "click")])
        assert later.log.past("v")[0].item_ids == ()
        assert len(later.log.past("u")[0].item_ids) == 3
        store.import_all([Item("i1", "One")], events(0, 9))
        store.import_all([Item("i1", "One")], events(0, 3))
        with pytest.raises(StorageError, match="events were imported since"):
            later.log.past("u")


def test_an_import_is_told_whoever_was_erased_after_it(
    store: Store, place: StorePlace, tmp_path: Path
) -> None:
    store.import_all([Item("i1", "One")], events(0, 9))
    with held(store, place, tmp_path) as later:
        store.import_all([Item("i1", "One")], [])
        for name in ("nobody", "nobody", "v"):  # who has nothing removes no event
            store.erase_user(name)
            with pytest.raises(StorageError, match="events were imported since"):
                later.log.past("u")


def test_who_comes_back_is_erased_again_and_no_import_is_told(
    store: Store, place: StorePlace, tmp_path: Path
) -> None:
    store.put_events(events(0, 9))
    with held(store, place, tmp_path) as later:
        for number in range(2):
            store.erase_user("v", 3_000.0 + number)
            store.put_events([Event("v", "i1", 3_000.5 + number, "click")])
        assert len(later.log.past("u")[0].item_ids) == 3
        assert later.log.past("v")[0].item_ids == ()
