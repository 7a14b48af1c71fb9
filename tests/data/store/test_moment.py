"""A store that is read as it was at a moment."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import StorePlace

from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.store.moment import StoreMoment
from serendip.data.store.store import Store
from serendip.data.user import User
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
        store.users.changes() > 0,
        [store.users.get(user) for user in USERS],
    ]


def write(store: Store, number: int) -> None:
    """Change everything."""
    store.put_events(events(number * 100, 9))
    store.put_items([Item("i1", f"Title {number}"), Item(f"j{number}", "New")])
    store.delete_item("i2")
    store.users.put(User("u", {"plan": f"plan {number}"}))
    store.users.put(User("v", {"plan": f"plan {number}"}))


def test_a_store_is_read_as_it_was(store: Store, place: StorePlace, tmp_path: Path) -> None:
    store.put_items(
        [Item("i1", "One", attributes={"price": 2.5, "tags": ("a", "b")}), Item("i2", "Two")]
    )
    store.put_events(events(0, 20))
    store.compact()
    store.put_events(events(20, 7))
    store.users.put(User("u", {"country": "NL", "age": 7.0, "tags": ("x",)}))
    StoreMoment.read(store, 0).save(tmp_path / "moment.json")
    expected = read(store)
    moment = StoreMoment.open(tmp_path / "moment.json")
    for number in range(1, 4):  # the tail, a segment with events from before and after, more
        write(store, number)
        if number == 2:
            store.compact()
        with closing(place.open()) as later:
            later.read_as_of(moment)
            assert read(later) == expected
            assert later.item_changes(moment.items.version).items == ()
        assert read(store) != expected


def test_erasures_hold_all_the_same_and_an_import_is_told(store: Store, place: StorePlace) -> None:
    store.put_events(events(0, 9))
    with closing(place.open()) as later:
        later.read_as_of(StoreMoment.read(store, 0))
        store.erase_user("v")
        store.put_events([Event("v", "i1", 2_000.0, "click")])
        assert later.log.past("v")[0].item_ids == ()
        assert len(later.log.past("u")[0].item_ids) == 3
        store.import_all([Item("i1", "One")], events(0, 9))
        store.import_all([Item("i1", "One")], events(0, 3))
        with pytest.raises(StorageError, match="events were imported since"):
            later.log.past("u")
