from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest
from object_stores import Killed, MortalStore, raise_killed

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.objects.mirror import Mirror
from serendip.data.objects.object_store import ObjectStore
from serendip.data.objects.url import open_object_store
from serendip.data.store.store import Store
from serendip.errors import DataError, StorageError

ITEMS = [Item("a", "A hat"), Item("b", "A shoe")]
EVENTS = [Event("ann", "a", 1.0), Event("ben", "b", 2.0), Event("ann", "b", 3.0)]


@pytest.fixture
def shared(tmp_path: Path) -> ObjectStore:
    return open_object_store(str(tmp_path / "shared"))


def open_store(machine: Path, shared: ObjectStore) -> Store:
    machine.mkdir(exist_ok=True)
    return Store.create(machine / "shop.db", Mirror(machine / "log", shared.within("log")))


def past(store: Store, user: str) -> list[str]:
    return [event.item_id for event in store.history(user, 9)]


def stored_segments(shared: ObjectStore) -> set[str]:
    return {key.split("/")[1] for key in shared.sizes("log/segment-")}


def copy_database(source: Path, target: Path) -> None:
    """The database alone, as a machine that shares it sees it."""
    target.mkdir(exist_ok=True)
    shutil.copyfile(source / "shop.db", target / "shop.db")


def test_another_machine_reads_the_log_of_the_storage(tmp_path: Path, shared: ObjectStore) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
        store.put_events([Event("ann", "a", 9.0)])
        assert store.compact() == 1
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "b", shared)) as store:
        assert (past(store, "ann"), past(store, "ben")) == (["a", "b", "a"], ["b"])
        names = set(store.segment_names())
    assert stored_segments(shared) == names
    assert {path.name for path in (tmp_path / "b" / "log").glob("segment-*")} == names


def test_a_damaged_copy_is_fetched_anew_and_damage_in_the_storage_is_refused(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
        (name,) = store.segment_names()
    items = tmp_path / "a" / "log" / name / "items.npy"
    items.write_bytes(b"damage")
    with closing(open_store(tmp_path / "a", shared)) as store:
        assert past(store, "ann") == ["a", "b"]
    (tmp_path / "damage").write_bytes(b"damage")
    shared.upload(f"log/{name}/items.npy", tmp_path / "damage")
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "b", shared)) as store:
        with pytest.raises(StorageError, match=r"items\.npy is altered"):
            past(store, "ann")


def damage(path: Path) -> bytes:
    content = path.read_bytes()
    path.write_bytes(b"damage")
    return content


@pytest.mark.parametrize("is_away", [False, True])
def test_damage_refuses_no_erasure_and_ends_with_it(tmp_path: Path, is_away: bool) -> None:
    shared = open_object_store(str(tmp_path / "shared"))
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
        (name,) = store.segment_names()
    damage(tmp_path / "a" / "log" / name / "items.npy")
    stored = tmp_path / "shared" / "log" / name / "items.npy"
    if is_away:
        (tmp_path / "shared").rename(tmp_path / "away")
        (tmp_path / "shared").write_bytes(b"")
    else:
        content = damage(stored)
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "b", 9.0)])
        assert store.erase_user("ann")[1] == 1
        assert store.waiting_segments()
        with pytest.raises(StorageError, match=r"items\.npy is altered.* It cannot be fetched"):
            past(store, "ben")
    if is_away:
        (tmp_path / "shared").unlink()
        (tmp_path / "away").rename(tmp_path / "shared")
    else:
        stored.write_bytes(content)
    with closing(open_store(tmp_path / "a", shared)) as store:
        assert (past(store, "ann"), past(store, "ben")) == ([], ["b"])


def test_a_segment_that_nobody_has_any_more_names_the_next_step(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_items(ITEMS)
        store.put_events(EVENTS)
        store.compact()
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "a", 9.0)])
        store.compact()
    with closing(open_store(tmp_path / "b", shared)) as store:
        with pytest.raises(StorageError, match=r"is missing.*copy it anew from the one that"):
            past(store, "ann")


def test_a_writer_without_its_copies_says_which_segment_is_missing(tmp_path: Path) -> None:
    shared = open_object_store(str(tmp_path / "shared"))
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
        (name,) = store.segment_names()
    shutil.rmtree(tmp_path / "a" / "log")
    shutil.rmtree(tmp_path / "shared" / "log" / name)
    (tmp_path / "a" / "log" / name).mkdir(parents=True)
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "a", 9.0)])
        with pytest.raises(StorageError, match=f"{name}.*has none"):
            past(store, "ann")
        assert store.compact() == 1  # it has a segment of its own


def test_a_copy_of_the_database_that_is_behind_removes_nothing(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "a", 9.0)])
        store.compact()
        names = set(store.segment_names())
    with closing(open_store(tmp_path / "b", shared)) as store:
        store.put_events([Event("ben", "a", 9.0)])
        for write in (store.compact, store.remove_erased, lambda: store.import_all(ITEMS, EVENTS)):
            with pytest.raises(StorageError, match=r"another copy .* has written .* `serendip res"):
                write()
        assert past(store, "ben") == ["b", "a"]
        store.rename_log()
        assert store.compact() == 1  # as what was restored does
        assert stored_segments(shared) == names | set(store.segment_names())
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "a", 10.0)])
        assert store.compact() == 1
        assert past(store, "ann") == ["a", "b", "a", "a"]


USER = "somebody-with-a-long-name"


def has_bytes(folder: Path) -> bool:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return any(USER.encode() in path.read_bytes() for path in paths)


def test_an_erasure_removes_what_killed_uploads_and_fetches_left(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, [*EVENTS, Event(USER, "a", 4.0)])
        (name,) = store.segment_names()
    child = os.fork()
    if not child:
        sync = os.fsync

        def die_in_upload(handle: int) -> None:
            sync(handle)
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            if ".incoming" in str(path) and path.is_file() and USER.encode() in path.read_bytes():
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = die_in_upload
        with closing(open_store(tmp_path / "a", shared)) as store:
            store.put_events([Event(USER, "b", 5.0)])
            store.compact()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    incoming = tmp_path / "shared" / "log" / ".incoming"
    assert has_bytes(incoming)
    (incoming / "segment-other-1_users.arrow-1").write_bytes(b"of another log")
    for left in (".fetching/segment-left", ".fetching/.removing-segment-left"):
        folder = tmp_path / "a" / "log" / left
        shutil.copytree(tmp_path / "a" / "log" / name, folder)
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.erase_user(USER)
        store.remove_erased()
    assert not has_bytes(tmp_path / "shared") and not has_bytes(tmp_path / "a" / "log")
    assert [path.read_bytes() for path in incoming.iterdir()] == [b"of another log"]


def test_another_machine_drops_the_copy_of_the_only_segment(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, [Event(USER, "a", 4.0)])
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "b", shared)) as other:
        assert past(other, USER) == ["a"]
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.erase_user(USER)
        store.remove_erased()
    copy_database(tmp_path / "a", tmp_path / "b")
    assert has_bytes(tmp_path / "b" / "log")
    with closing(open_store(tmp_path / "b", shared)) as other:
        assert past(other, "ann") == []
    assert not has_bytes(tmp_path / "b" / "log")


def test_an_erased_user_leaves_the_storage_and_the_copies_of_other_machines(
    tmp_path: Path, shared: ObjectStore
) -> None:
    user = USER
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, [*EVENTS, Event(user, "a", 4.0)])
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "b", shared)) as other:
        assert past(other, user) == ["a"]
    assert has_bytes(tmp_path / "shared") and has_bytes(tmp_path / "b" / "log")
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.erase_user(user)
        store.remove_erased()
        assert past(store, "ann") == ["a", "b"]
    assert not has_bytes(tmp_path / "shared") and not has_bytes(tmp_path / "a" / "log")
    copy_database(tmp_path / "a", tmp_path / "b")
    with closing(open_store(tmp_path / "b", shared)) as other:
        assert (past(other, "ann"), past(other, user)) == (["a", "b"], [])
    assert not has_bytes(tmp_path / "b" / "log")


def test_a_writer_that_is_killed_anywhere_loses_nothing(
    tmp_path: Path, shared: ObjectStore
) -> None:
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.import_all(ITEMS, EVENTS)
    changes, is_killed = 0, True
    while is_killed:
        with closing(open_store(tmp_path / "a", MortalStore(shared, [changes], raise_killed))) as a:
            a.put_events([Event("ann", "a", 10.0 + changes)])
            try:
                a.compact()
                is_killed = False
            except Killed:
                changes += 1
        copy_database(tmp_path / "a", tmp_path / "b")
        with closing(open_store(tmp_path / "b", shared)) as other:
            assert past(other, "ann") == ["a", "b", *["a"] * (changes + (not is_killed))][-9:]
    assert changes > 8
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.put_events([Event("ann", "b", 99.0)])
        store.compact()
        assert stored_segments(shared) == set(store.segment_names())


def test_a_log_of_one_machine_moves_into_the_storage_with_the_next_writer(
    tmp_path: Path, shared: ObjectStore
) -> None:
    (tmp_path / "a").mkdir()
    with closing(Store.create(tmp_path / "a" / "shop.db")) as store:
        store.import_all(ITEMS, EVENTS)
    with closing(open_store(tmp_path / "a", shared)) as store:
        store.compact()
        assert stored_segments(shared) == set(store.segment_names())


def test_a_log_that_a_restore_replaced_is_forgotten(tmp_path: Path, shared: ObjectStore) -> None:
    with closing(open_store(tmp_path / "a", shared)) as lost:
        lost.import_all(ITEMS, EVENTS)
        old = lost.segment_names()
    with closing(open_store(tmp_path / "b", shared)) as store:
        store.import_all(ITEMS, EVENTS[:2])
        (log,) = store.other_logs()
        assert store.other_logs() == {log: 1} and old[0].startswith(f"segment-{log}-")
        own = store.segment_names()
        with pytest.raises(DataError, match="is the event log of this workspace"):
            store.forget_log(own[0].split("-")[1])
        with pytest.raises(DataError, match=f"no event log 'x'.*It has {log}"):
            store.forget_log("x")
        assert store.forget_log(log) == 1
        assert store.other_logs() == {}
        assert stored_segments(shared) == set(own)
        assert not [key for key in shared.sizes("log/") if log in key]
        assert past(store, "ann") == ["a"]
