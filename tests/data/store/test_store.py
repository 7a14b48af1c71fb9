import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from serendip.data import Event, Item
from serendip.data.limits import MAX_ID_BYTES, MAX_TEXT_CHARS
from serendip.data.store.store import IMPORT_KEY, Store
from serendip.data.users.user import User
from serendip.errors import BusyError, DataError, StorageError


def full_item():
    attributes = {"year": 1999.0, "genres": ("a", "b"), "brand": "제품"}
    return Item("1", "The Matrix", "words", attributes, 12.5)


def test_items_come_back_as_they_went_in(store):
    assert len(store.put_items([full_item(), Item("2")]).items) == 2
    assert store.items() == [full_item(), Item("2")]
    assert store.item("1") == full_item()
    assert store.item("3") is None
    assert store.count_items() == 2


def test_what_is_too_long_or_no_id_is_refused(store):
    with pytest.raises(DataError, match="title has 65,537 characters; at most 65,536"):
        store.put_items([Item("1", "x" * (MAX_TEXT_CHARS + 1))])
    with pytest.raises(DataError, match="session_id has 513 bytes; an id has at most 512"):
        store.put_events([Event("u", "1", 5.0, session_id="x" * (MAX_ID_BYTES + 1))])
    assert (store.count_items(), store.log.count()) == (0, 0)
    with pytest.raises(DataError, match="item_id 'a/similar' ends in '/similar'"):
        store.put_items([Item("a/similar")])
    assert len(store.put_items([Item("a/similar/b"), Item("similar")]).items) == 2


def test_texts_come_back_whatever_signs_they_have(store):
    texts = ["NULL", "{a,b}", '"', "\\", "%s %(x)s", ":name", "'; --", " a ", "é\u0301"]
    texts += ["\U0001f600", "\x01"]
    events = [
        Event(f"u{text}", text, float(number), query=text, event_id=f"{text}{number}")
        for number, text in enumerate(texts)
    ]
    assert store.put_events(events) == len(texts)
    assert store.put_events(events) == 0
    store.put_items([Item(text, text, text, {text: (text, "")}) for text in texts])
    assert [store.log.history(f"u{text}", 9) for text in texts] == [[event] for event in events]
    assert [item.item_id for item in store.items()] == texts
    assert store.item("{a,b}") == Item("{a,b}", "{a,b}", "{a,b}", {"{a,b}": ("{a,b}", "")})


def test_orders_of_texts_are_those_of_their_bytes(store):
    users = ["b", "B", "a", "_", "é", "Z", "\U0001f600", "\uffee", "A a", "A-a", "Aa"]
    for user in users:
        store.users.put(User(user, {"x": "y"}))
        store.put_events([Event(user, "i", 1.0)])
    assert [user.user_id for user in store.users.all()] == sorted(users)
    assert [name for name, _ in store.log.active_users(99)] == sorted(users)


def deleted(store: Store) -> set[str]:
    return set(store.item_changes(0).deleted)


def test_replaced_items_keep_their_place_and_get_a_new_version(store):
    store.put_items([Item("a"), Item("b"), Item("c")])
    before = store.max_version()
    store.put_items([Item("b", "new")])
    assert [item.item_id for item in store.items()] == ["a", "b", "c"]
    assert store.item_changes(before).items == [Item("b", "new")]
    assert store.item_changes(store.max_version()).items == []


def test_a_deleted_item_is_gone_until_it_is_put_again(store):
    store.put_items([Item("a"), Item("b")])
    version = store.max_version()
    assert store.delete_item("a")
    assert not store.delete_item("a")
    assert not store.delete_item("never")
    assert (store.items(), deleted(store), store.item("a")) == ([Item("b")], {"a"}, None)
    assert store.max_version() > version
    store.put_items([Item("a", "back")])
    assert (store.items()[0], deleted(store)) == (Item("a", "back"), set())


def test_changed_items_come_in_the_order_of_their_first_insertion_deleted_ones_too(store):
    store.put_items([Item("old"), Item("older")])
    before = store.max_version()
    store.put_items([Item("a"), Item("b"), Item("c")])
    store.put_items([Item("a", "again")])
    store.delete_item("b")
    store.delete_item("old")
    changes = store.item_changes(before)
    new = [item.item_id for item in changes.items if item.item_id != "old"]
    assert new == ["a", "b", "c"]
    assert (changes.deleted, changes.version) == ({"b", "old"}, store.max_version())
    assert Item("a", "again") in changes.items


def test_a_history_is_found_behind_many_events_that_are_left_out(store):
    chosen = [Event("u", name, time) for name, time in zip("abc", (1.0, 2.0, 3.0), strict=True)]
    seen = [Event("u", f"i{number}", 4.0 + number, "impression") for number in range(200)]
    store.put_events([*chosen, *seen])
    assert store.log.history("u", 2, ["impression"]) == chosen[1:]
    assert store.log.history("u", 9, ["impression"], since=3.0) == chosen[2:]
    assert store.log.history("u", 2) == seen[-2:]


def test_queries_are_told_by_frequency_and_impossible_ids_find_nothing(store):
    store.put_events([Event("w", "x", 4, "impression", query=word) for word in ("hat", "", "hat")])
    store.put_events([Event("w", "x", 6, query="shoe")])
    assert (store.log.queries(), store.log.queries(("impression",))) == (["hat", "shoe"], ["shoe"])

    for name in ("", "\ud800", "a\0b"):
        assert store.log.history(name, 5) == []
        assert store.item(name) is None
        assert not store.delete_item(name)


@pytest.mark.parametrize(
    "event",
    [
        Event("", "i", 1.0),
        Event("u", "", 1.0),
        Event("u", "i", float("nan")),
        Event("u", "i", float("inf")),
        Event("u", "i", 1.0, value=float("nan")),
        Event("u", "i", 1.0, position=-1),
        Event("u", "i", 1.0, position=2**63),
        *(Event("u", "i", 1.0, propensity=wrong) for wrong in (0.0, -0.5, 1.5, float("nan"))),
        Event("\ud800", "i", 1.0),
        Event("u", "i", 1.0, query="a\0"),
        Event("u", "x" * 513, 1.0),
    ],
)
def test_an_event_that_cannot_be_stored_stores_none_of_its_batch(store, event):
    with pytest.raises(DataError, match="cannot be stored"):
        store.put_events([Event("u", "i", 1.0), event])
    assert store.log.count() == 0


@pytest.mark.parametrize(
    "item",
    [Item(""), Item("a", "\ud800"), Item("a", "", "\0"), Item("a", "", "", {"x": float("nan")})],
)
def test_an_item_that_cannot_be_stored_stores_none_of_its_batch(store, item):
    with pytest.raises(DataError, match="cannot be stored"):
        store.put_items([Item("ok"), item])
    assert store.items() == []


def test_groups_of_events_are_stored_in_one_transaction_and_refused_one_by_one(store):
    def event(user, name="", **changes):
        return Event(user, "1", 5.0, event_id=name, **changes)

    groups = [
        [event("a", "x"), event("a")],
        [event("b", "y"), event("b", "z", position=-1)],
        [event("c", "x"), event("c", "y"), event("c", "y")],
        [],
    ]
    stored = store.put_event_groups(groups)
    assert [stored[0], *stored[2:]] == [2, 1, 0]
    assert "position -1" in str(stored[1])
    assert [row["user_id"] for row in store.tables().events.to_pylist()] == ["a", "a", "c"]


def test_no_group_is_stored_if_the_transaction_fails(store):
    def groups():
        yield [Event("a", "1", 5.0)]
        raise StorageError("the next one cannot be read.", "Read it again.")

    with pytest.raises(StorageError):
        store.put_event_groups(groups())
    assert store.log.count() == 0
    assert store.put_events([Event("a", "1", 5.0)]) == 1


def test_a_group_may_come_after_those_before_it_are_written(store):
    late = []

    def groups():
        yield [Event("a", "1", 5.0)]
        late.append(store.log.count())  # others do not see it before the commit
        yield [Event("b", "1", 5.0)]

    assert store.put_event_groups(groups()) == [1, 1]
    assert late == [0]


def test_an_import_replaces_what_files_brought_and_nothing_else(store):
    store.import_all([Item("a"), Item("b")], [Event("u", "a", 1.0)])
    store.put_items([Item("posted")])
    store.put_events([Event("u", "b", 2.0)])
    counts = store.import_all([Item("a", "new"), Item("c")], [Event("u", "c", 3.0)])
    assert (counts.items, counts.events) == (2, 1)
    assert [item.item_id for item in store.items()] == ["a", "posted", "c"]
    assert store.item("a") == Item("a", "new")
    assert deleted(store) == set()  # a generation in force goes on with it
    assert [event.item_id for event in store.log.history("u", 9)] == ["b", "c"]


def test_an_item_deleted_by_hand_stays_deleted_and_one_posted_stays_as_posted(store):
    files = [Item("a", "file"), Item("b", "file")]
    store.import_all(files, [])
    store.delete_item("a")
    store.put_items([Item("b", "posted")])
    store.import_all(files, [])
    assert (store.items(), deleted(store)) == ([Item("b", "posted")], {"a"})


def test_importing_again_changes_no_version_and_repeated_ids_are_counted(store):
    items = [full_item(), Item("2")]
    store.import_all(items, [Event("u", "1", 1.0)])
    version = store.max_version()
    store.import_all(items, [Event("u", "1", 1.0)])
    assert (store.max_version(), store.log.count()) == (version, 1)
    store.import_all([Item("a", "1"), Item("a", "2"), Item("b")], [])
    assert json.loads(store.meta(IMPORT_KEY)) == {"duplicate_items": 1, "examples": ["a"]}
    assert store.item("a") == Item("a", "2")


def test_an_import_that_fails_leaves_the_former_state(store):
    store.import_all([Item("a")], [Event("u", "a", 1.0)])

    def events():
        yield Event("v", "b", 2.0)
        raise DataError("a broken row")

    with pytest.raises(DataError, match="a broken row"):
        store.import_all([Item("b")], events())
    assert (store.items(), store.log.active_users(5)) == ([Item("a")], [("u", 1)])


KILLED = """
import sys
from sqlalchemy import Engine, event
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.store import IMPORT_KEY, Store

place, moment, command = sys.argv[1:]

def stop_here():
    print("importing", flush=True)
    sys.stdin.read()

def events():
    yield Event("new", "b", 1.0)
    if moment == "reading":
        stop_here()

@event.listens_for(Engine, "after_cursor_execute")
def executed(connection, cursor, statement, *_):
    if statement.startswith(moment):
        stop_here()

store = Store.create(place)
if command == "import":
    store.import_all([Item("b")], events())
elif command == "pack":
    store.pack()
else:
    store.erase_user("u")
    store.remove_erased()
"""


def killed(place, moment, command):
    """Kill a process that imports, packs or erases at a moment."""
    arguments = [sys.executable, "-c", KILLED, str(place.place), moment, command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(arguments, **pipes, text=True) as process:
        assert process.stdout.readline() == "importing\n"
        os.kill(process.pid, signal.SIGKILL)


def packs(store):
    """Numbers of the packs that have rows, and of those that count."""
    sql = "SELECT DISTINCT pack FROM pack_rows", "SELECT pack FROM packs"
    with store.database.read() as connection:
        return tuple(set(connection.exec_driver_sql(one).scalars()) for one in sql)


@pytest.mark.parametrize(
    "moment", ["reading", "INSERT INTO pack_rows", "DELETE FROM packs", "INSERT INTO packs"]
)
def test_a_process_killed_while_importing_leaves_the_former_state(place, moment):
    with closing(place.create()) as store:
        store.import_all([Item("a")], [Event("u", "a", 1.0)])
    killed(place, moment, "import")
    with closing(place.open()) as store:
        assert (store.items(), store.log.active_users(9)) == ([Item("a")], [("u", 1)])
        assert store.put_events([Event("u", "a", 2.0)]) == 1
        assert store.pack() == 1
        written, counted = packs(store)
        assert written == counted and len(counted) == 2  # halves of the killed import are gone
        assert store.import_all([Item("c")], []).items == 1
        assert len(packs(store)[0]) == 1


@pytest.mark.parametrize(
    "moment", ["INSERT INTO pack_rows", "INSERT INTO packs", "DELETE FROM events"]
)
def test_a_process_killed_while_packing_loses_and_doubles_nothing(place, moment):
    events = [Event("u", "a", float(number), event_id=f"e{number}") for number in range(5)]
    with closing(place.create()) as store:
        store.put_events(events[:2])
        store.pack()
        store.put_events(events[2:])
    killed(place, moment, "pack")
    with closing(place.open()) as store:
        assert store.log.history("u", 9) == events
        assert store.log.count() == 5
        assert store.put_events(events) == 0
        assert store.put_events([Event("u", "a", 9.0)]) == 1
        store.pack()
        assert store.log.count() == 6
        written, counted = packs(store)
        assert written == counted


def test_a_process_killed_while_erasing_erases_nothing(place):
    with closing(place.create()) as store:
        store.import_all([], [Event("u", "a", 1.0), Event("v", "a", 1.0)])
        store.put_events([Event("u", "b", 2.0)])
    killed(place, "INSERT INTO erased_users", "erase")
    with closing(place.open()) as store:
        assert [event.item_id for event in store.log.history("u", 9)] == ["a", "b"]
        assert store.put_events([Event("u", "c", 3.0)]) == 1
        assert store.erase_user("u")[1] == 3
        assert (store.log.history("u", 9), store.log.count()) == ([], 1)


@pytest.mark.parametrize(
    "moment", ["INSERT INTO pack_rows", "INSERT INTO packs", "DELETE FROM packs"]
)
@pytest.mark.parametrize("next_step", ["remove", "pack", "import"])
def test_whoever_packs_next_ends_an_erasure_that_was_killed(file_place, moment, next_step):
    with closing(file_place.create()) as store:
        store.put_events([Event("u", "hush-hush", 1.0), Event("v", "a", 1.0)])
        store.pack()
        store.put_events([Event("u", "hush-hush", 2.0)])
    killed(file_place, moment, "erase")
    with closing(file_place.open()) as store:
        assert (store.log.history("u", 9), store.log.count()) == ([], 1)
        if next_step == "pack":
            store.put_events([Event("v", "b", 2.0)])
            store.pack()
        elif next_step == "import":
            store.import_all([], [Event("u", "hush-hush", 1.0), Event("v", "c", 1.0)])
        store.remove_erased()
        assert not store.has_remains()
        assert store.log.count() == (1 if next_step == "remove" else 2)
    for file in file_place.folder.rglob("*"):
        assert not file.is_file() or b"hush-hush" not in file.read_bytes()


def test_others_write_while_the_files_of_an_import_are_read(place, store):
    with closing(place.open(busy_timeout_s=0.0)) as other:

        def items():
            yield Item("a")
            other.put_items([Item("posted")])  # waits for nobody: it would fail at once

        def events():
            yield Event("v", "b", 2.0)
            other.put_events([Event("u", "a", 1.0)])

        assert store.import_all(items(), events()).events == 1
    assert [item.item_id for item in store.items()] == ["posted", "a"]
    assert store.log.active_users(5) == [("u", 1), ("v", 1)]


@contextmanager
def writing(place):
    with closing(place.database()) as other, other.write() as connection:
        yield connection


def test_readers_do_not_wait_for_a_writer_and_see_the_former_state(place, store):
    store.import_all([Item("a")], [])
    store.put_events([Event("u", "a", 1.0)])
    with writing(place) as writer:
        writer.exec_driver_sql("DELETE FROM events")
        assert (store.items(), store.log.active_users(5)) == ([Item("a")], [("u", 1)])
        assert store.log.past("u").item_ids == ("a",)
    assert store.log.active_users(5) == []


def test_a_write_is_refused_when_others_hold_the_database_for_longer_than_it_waits(place):
    place.create().close()
    with closing(place.open(0.2)) as store:
        with writing(place):
            for write in (
                lambda: store.put_events([Event("u", "a", 1.0)]),
                lambda: store.put_items([Item("a")]),
                lambda: store.delete_item("a"),
                lambda: store.import_all([Item("a")], []),
            ):
                with pytest.raises(BusyError, match="is locked by another writer"):
                    write()
        assert (store.log.count(), store.count_items()) == (0, 0)
        assert store.put_events([Event("u", "a", 1.0)]) == 1


def test_many_threads_lose_nothing(store):
    barrier = threading.Barrier(8)

    def work(thread):
        barrier.wait()
        for number in range(20):
            store.put_events([Event(f"u{thread}", f"i{number}", float(number))])
            store.put_items([Item(f"{thread}-{number}")])
        return len(store.log.history(f"u{thread}", 100))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [20] * 8
    assert (store.log.count(), store.count_items(), store.max_version()) == (160, 160, 160)


def test_a_database_that_cannot_be_opened_is_a_storage_error(tmp_path):
    (tmp_path / "s.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match=r"s\.db: file is not a database") as told:
        Store.create(tmp_path / "s.db")
    assert str(tmp_path) not in str(told.value)
    with pytest.raises(StorageError, match="unable to open"):
        Store.create(tmp_path / "missing" / "s.db")
