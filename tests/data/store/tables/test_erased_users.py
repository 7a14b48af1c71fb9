import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres_server import StorePlace

from serendip.data import Event, Item
from serendip.data.limits import MAX_CLOCK_LEAD_S
from serendip.data.store.base import Database
from serendip.data.store.event_log.pack_writer import TRIES
from serendip.data.store.store import Store
from serendip.data.store.tables.generated import Generated
from serendip.data.users.user import User
from serendip.errors import BusyError

BEFORE, MOMENT, AFTER = 10.0, 20.0, 30.0
AfterPack = Callable[[Callable[[], object]], None]


def items_of(store: Store, user_id: str) -> list[str]:
    return [event.item_id for event in store.log.history(user_id, 99)]


def test_files_do_not_bring_an_erased_user_back(store: Store) -> None:
    events = [Event("u", "a", BEFORE), Event("v", "a", BEFORE)]
    users = [User("u", {"plan": "paid"}), User("v", {"plan": "free"})]

    def import_files() -> tuple[int, int, int]:
        from serendip.data.events.event_table import tabulate_events
        from serendip.data.store.item_rows import tabulate_items

        counts = store.import_tables(
            lambda: tabulate_items([]), lambda: tabulate_events(events), lambda: users
        )
        return counts.events, counts.erased_events, counts.users

    assert import_files() == (2, 0, 2)
    store.erase_user("u", MOMENT)
    events.append(Event("u", "b", AFTER))
    assert (items_of(store, "u"), store.users.get("u")) == ([], None)
    assert import_files() == (2, 1, 1)
    assert (items_of(store, "u"), items_of(store, "v")) == (["b"], ["a"])
    assert store.users.all() == [User("v", {"plan": "free"})]


def test_what_was_erased_of_a_clock_that_is_ahead_does_not_come_back(store: Store) -> None:
    """The API accepts times of the next day, and a feed in local time has those of every hour."""
    posted = [Event("u", "a", MOMENT + ahead, event_id=f"e{ahead}") for ahead in (60, 3_600)]
    filed = [Event("u", "b", MOMENT + 7_200), Event("v", "b", BEFORE)]
    store.import_all([], filed)
    store.put_events(posted[:1])
    store.pack()
    store.put_events(posted[1:])
    erasure, count = store.erase_user("u", MOMENT)
    assert (erasure.moment, count) == (MOMENT, 3)
    assert store.put_events([*posted, Event("u", "a", MOMENT + 90)]) == 0
    counts = store.import_all([], filed)
    assert (counts.events, counts.erased_events) == (1, 1)
    assert store.put_events([Event("u", "c", MOMENT + 7_201)]) == 1
    assert items_of(store, "u") == ["c"]


def test_a_time_of_another_century_in_a_file_shuts_nobody_out_of_the_api(store: Store) -> None:
    wrong = Event("u", "a", MOMENT + 1e10)
    store.import_all([], [wrong])
    store.erase_user("u", MOMENT)
    assert store.import_all([], [wrong]).erased_events == 1
    assert store.put_events([Event("u", "b", MOMENT + MAX_CLOCK_LEAD_S)]) == 0
    assert store.put_events([Event("u", "c", MOMENT + MAX_CLOCK_LEAD_S + 1)]) == 1


def test_a_second_erasure_counts_whatever_is_stored(store: Store) -> None:
    store.erase_user("u", BEFORE)
    assert store.erase_user("u", AFTER)[0].moment == AFTER
    assert store.put_events([Event("u", "late", MOMENT)]) == 0
    assert store.erase_user("u", MOMENT)[0].moment == AFTER
    store.import_all([], [Event("u", "a", AFTER + 1)])
    learned = store.log.position().removals  # by a training or a backup
    store.import_all([], [Event("v", "a", AFTER)])
    assert store.put_events([Event("u", "back", AFTER + 1)]) == 1
    erasure, count = store.erase_user("u", AFTER + 2)
    assert (erasure.removals > learned, count) == (True, 1)
    assert store.put_events([Event("u", "a", AFTER + 1)]) == 0
    assert len(store.erasures().by_digest) == 1


def test_only_a_digest_is_kept_and_another_database_has_another_one(tmp_path: Path) -> None:
    digests = set()
    for name in ("s.db", "t.db"):
        with closing(Store.create(tmp_path / name)) as store:
            store.put_events([Event("somebody", "a", BEFORE)])
            store.erase_user("somebody", MOMENT)
            digests |= store.erasures().by_digest.keys()
            store.remove_erased()
    assert len(digests) == 2
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"somebody" not in path.read_bytes()


def test_an_erasure_does_not_wait_for_who_imports(place: StorePlace, store: Store) -> None:
    """An import reads its files for minutes: whoever is erased meanwhile is not in it."""
    store.put_events([Event("u", "a", BEFORE), Event("v", "a", BEFORE)])
    store.pack()
    with closing(place.open(busy_timeout_s=0.0)) as other:

        class Watched(list[Event]):
            def __iter__(self) -> Iterator[Event]:
                yield from super().__iter__()
                assert other.erase_user("u", MOMENT)[1] == 1

        events = Watched([Event("u", "b", BEFORE), Event("v", "b", BEFORE)])
        store.import_all([], events)
        assert (items_of(other, "u"), items_of(other, "v")) == ([], ["a", "b"])


def test_an_import_under_way_keeps_only_what_happened_after_an_erasure(
    place: StorePlace, store: Store, after_a_pack: AfterPack
) -> None:
    """Of somebody who has nothing stored yet, too: the first import is the usual case."""
    with closing(place.open()) as other:
        names = ["u"]
        after_a_pack(lambda: [other.erase_user(name, MOMENT) for name in names])
        both = [Event(name, "a", BEFORE) for name in "uvw"]
        counts = store.import_all([], both)
        assert (items_of(other, "u"), items_of(other, "v")) == ([], ["a"])
        assert (counts.events, counts.erased_events, other.log.count()) == (2, 1, 2)
        names[:] = ["v", "w"]
        counts = store.import_all([], [*both, Event("w", "b", AFTER), Event("x", "a", BEFORE)])
        assert (items_of(other, "v"), items_of(other, "w")) == ([], ["b"])
        assert (counts.events, counts.erased_events, other.log.count()) == (2, 3, 2)
    store.remove_erased()
    assert (items_of(store, "w"), items_of(store, "x")) == (["b"], ["a"])


@pytest.mark.parametrize("writes", ["pack", "remove_erased"])
def test_whoever_is_erased_while_a_pack_is_written_is_not_in_it(
    place: StorePlace, store: Store, after_a_pack: AfterPack, writes: str
) -> None:
    store.put_events([Event(name, "a", BEFORE) for name in "uvwx"])
    store.pack()
    store.put_events([Event(name, "b", BEFORE) for name in "uvwx"])
    store.erase_user("w", MOMENT)
    left = ["u"]
    with closing(place.open()) as other:
        after_a_pack(lambda: left and other.erase_user(left.pop(), MOMENT))
        getattr(store, writes)()
    for name, count in (("u", 0), ("v", 2), ("w", 0), ("x", 2)):
        assert len(items_of(store, name)) == count
    assert store.log.active_users(9) == [("v", 2), ("x", 2)]
    store.remove_erased()
    assert store.log.count() == 4


@pytest.mark.parametrize("writes", ["pack", "import_all"])
def test_where_users_are_erased_all_the_time_nothing_is_packed_and_nothing_lost(
    place: StorePlace, store: Store, after_a_pack: AfterPack, writes: str
) -> None:
    names = [f"u{number}" for number in range(TRIES + 2)]
    store.put_events([Event(name, "a", BEFORE) for name in names])
    left = names[:TRIES]
    with closing(place.open()) as other:
        after_a_pack(lambda: left and other.erase_user(left.pop(0), MOMENT))
        with pytest.raises(BusyError, match="erased"):
            store.pack() if writes == "pack" else store.import_all([], [Event("v", "b", BEFORE)])
        assert left == []
        assert store.log.active_users(9) == [(name, 1) for name in names[TRIES:]]
        assert store.pack() == 2
    assert [items_of(store, name) for name in names[TRIES - 1 :]] == [[], ["a"], ["a"]]


def test_a_reader_keeps_the_bytes_and_the_next_call_removes_them(
    place: StorePlace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serendip.data.store.postgres.READERS_S", 0.0)
    with closing(place.open(busy_timeout_s=0.0)) as quick:
        quick.put_events([Event("u", "a", BEFORE)])
        with closing(place.database()) as database, database.read() as connection:
            connection.exec_driver_sql("SELECT * FROM events").all()
            quick.erase_user("u", MOMENT)
            quick.remove_erased()
            assert quick.has_remains()
        quick.remove_erased()
        assert not quick.has_remains()


def test_an_erasure_during_a_scrub_is_not_forgotten(
    place: StorePlace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_events([Event(name, "a", BEFORE) for name in ("first", "second-canary")])
    store.erase_user("first", MOMENT)
    kind = type(store.database)
    scrub = kind.scrub
    with closing(place.open()) as other:

        def scrub_slowly(self: Database, *arguments: Any) -> bool:
            done = scrub(self, *arguments)
            other.erase_user("second-canary", MOMENT)
            return done

        monkeypatch.setattr(kind, "scrub", scrub_slowly)
        store.remove_erased()
        monkeypatch.undo()
        assert other.has_remains()
        store.remove_erased()
        assert not other.has_remains()
    assert not place.has_bytes(b"second-canary")


def test_bytes_of_rows_that_an_import_removed_before_the_erasure_go_too(
    place: StorePlace, store: Store
) -> None:
    from serendip.data.events.event_table import tabulate_events
    from serendip.data.store.item_rows import tabulate_items

    everybody = [User(f"canary-{number}-", {"plan": "x" * 60}) for number in range(300)]
    for users in (everybody, []):
        store.import_tables(
            lambda: tabulate_items([]),
            lambda: tabulate_events([Event("v", "a", BEFORE)]),
            lambda users=users: users,  # type: ignore[misc]
        )
    assert place.has_bytes(b"canary-7-")
    assert store.erase_user("canary-7-", MOMENT)[1] == 0
    assert store.has_remains()
    store.remove_erased()
    assert not place.has_bytes(b"canary-7-")


def canary(number: int) -> str:
    return f"<canary{number}>"


def found(folder: Path, numbers: Sequence[int]) -> list[int]:
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("s.db*")))
    return [number for number in numbers if canary(number).encode() in content]


def scatter(store: Store, count: int) -> None:
    """Events in an order that splits pages again and again, as those of a service do."""
    order, names = random.Random(1), [canary(number) for number in range(count)]
    for step in range(6):
        order.shuffle(names)
        store.put_events(
            Event(
                name, "a", BEFORE + step, query="q" * order.randrange(60), event_id=f"{name}{step}"
            )
            for name in names
        )
    for name in names[:200]:
        store.users.put(User(name, {"plan": name * order.randrange(9)}))


def test_no_byte_of_erased_users_is_left(file_store: Store, tmp_path: Path) -> None:
    scatter(file_store, 300)
    erased = range(0, 300, 3)
    for number in erased:
        file_store.erase_user(canary(number), MOMENT)
    file_store.remove_erased()
    assert found(tmp_path, erased) == []
    assert found(tmp_path, range(1, 300, 3)) == [*range(1, 300, 3)]
    assert file_store.log.count() == 6 * 200
    assert file_store.database.integrity() == []


def churn(store: Store, count: int) -> None:
    """Items whose texts grow and shrink, so that pages are split and joined again and again."""
    rng = random.Random(2)
    for _ in range(5):
        numbers = rng.sample(range(count), count)
        store.put_items(
            Item(f"i{number}", canary(number), canary(number) * rng.randrange(80))
            for number in numbers
        )
        texts = {number: canary(number) * rng.randrange(9) for number in numbers[: count // 9]}
        store.generated.put(
            [
                Generated("text", f"i{number}", "keywords", "rules", text, "m", "p", "d")
                for number, text in texts.items()
            ]
        )


def test_no_byte_of_erased_items_is_left(file_store: Store, tmp_path: Path) -> None:
    churn(file_store, 600)
    erased = range(0, 600, 50)
    for number in erased:
        file_store.erase_item(f"i{number}")
    file_store.remove_erased()
    assert found(tmp_path, erased) == []
    assert found(tmp_path, range(1, 600, 50)) == [*range(1, 600, 50)]
    assert file_store.count_items() == 600 - len(erased)
    assert file_store.database.integrity() == []
    assert not file_store.has_remains()


def test_what_is_erased_before_or_while_it_comes_is_left_out(store: Store) -> None:
    assert not store.erase_item("i")
    store.import_all([Item("i", "text"), Item("j", "text")], [])
    assert (store.item("i"), store.erased_items()) == (None, ["i"])
    assert [item.item_id for item in store.items()] == ["j"]
    store.put_items([Item("i", "text")])
    assert store.item("i") is not None

    store.put_items([Item("i", "text"), Item("j", "text")])
    store.erase_item("i")
    texts = [Generated("text", name, "keywords", "llm", "words", "m", "p", "d") for name in "ij"]
    store.generated.put(texts)
    assert [text.item_id for text in store.generated.rows()] == ["j"]
