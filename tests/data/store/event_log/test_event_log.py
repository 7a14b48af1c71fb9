from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import StorePlace

from serendip.data.events.event import Event
from serendip.data.events.event_table import LogColumns
from serendip.data.store.event_log.pack_writer import PackWriter
from serendip.data.store.store import Store
from serendip.errors import DataError

USERS, ITEMS = "uvw", "abc"
ERASED_AT = 2.0
"""Of the times from 0 to 5: an event of an erased user counts only if it happened later, and later
than all that was erased."""

EVENTS = st.builds(
    Event,
    user_id=st.sampled_from(USERS),
    item_id=st.sampled_from(ITEMS),
    timestamp=st.integers(0, 5).map(float),
    action=st.sampled_from(["click", "like", "impression"]),
    value=st.sampled_from([None, 1.0, 4.5]),
    query=st.sampled_from(["", "", "hat", "shoe"]),
    request_id=st.sampled_from(["", "r1"]),
    position=st.sampled_from([None, 3]),
    surface=st.sampled_from(["", "home"]),
    session_id=st.sampled_from(["", "s1"]),
    event_id=st.sampled_from(["", "", "e1", "e2", "e3"]),
    country=st.sampled_from(["", "France"]),
    device=st.sampled_from(["", "phone"]),
    propensity=st.sampled_from([None, 0.25]),
)
BATCHES = st.lists(EVENTS, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), BATCHES),
        st.tuples(st.just("import"), BATCHES),
        st.tuples(st.just("pack"), st.none()),
        st.tuples(st.just("erase"), st.sampled_from(USERS)),
        st.tuples(st.just("remove erased"), st.none()),
    ),
    max_size=8,
)


class PlainLog:
    """The log as a list, with what the store promises written down."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Event]] = []
        self.erased: dict[str, float] = {}

    def take(self, step: str, what: object) -> None:
        if step == "post":
            self._append("api", what)
        elif step == "import":
            self.rows = [row for row in self.rows if row[0] == "api"]
            self._append("file", what)
        elif step == "erase":
            own = [event.timestamp for _, event in self.rows if event.user_id == what]
            self.rows = [row for row in self.rows if row[1].user_id != what]
            self.erased[str(what)] = max(ERASED_AT, *own, self.erased.get(str(what), 0.0))

    def _append(self, origin: str, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            if event.timestamp <= self.erased.get(event.user_id, -1.0):
                continue
            known = {old.event_id for _, old in self.rows} - {""}
            if event.event_id not in known:
                self.rows.append((origin, event))

    @property
    def events(self) -> list[Event]:
        return sorted((event for _, event in self.rows), key=lambda event: event.timestamp)


def do(store: Store, step: str, what: object) -> None:
    if step == "post":
        store.put_events(what)
    elif step == "import":
        store.import_all([], what)
    elif step == "pack":
        store.pack()
    elif step == "erase":
        store.erase_user(what, ERASED_AT)
    else:
        store.remove_erased()


def counted(events: list[Event]) -> list[tuple[str, int]]:
    counts = Counter(event.user_id for event in events)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_packs_and_tail_are_one_log(tmp_path_factory, steps):
    require_one_log(StorePlace(tmp_path_factory.mktemp("s")), steps)


@settings(max_examples=6, deadline=None)
@given(STEPS)
def test_they_are_one_log_on_a_server(postgres_server, tmp_path_factory, steps):
    require_one_log(StorePlace(tmp_path_factory.mktemp("s"), postgres_server), steps)


def require_one_log(place: StorePlace, steps: list[tuple[str, object]]) -> None:
    shown = ("impression",)
    with closing(place.create()) as store:
        plain = PlainLog()
        for step, what in steps:
            do(store, step, what)
            plain.take(step, what)
            assert store.log.active_users(9) == counted(plain.events)
            assert store.log.count() == len(plain.events)
        events = plain.events
        assert store.log.count() == len(events)
        for user in USERS:
            own = [event for event in events if event.user_id == user]
            assert store.log.history(user, 99) == own
            assert store.log.history(user, 2) == own[-2:]
            counts = [event for event in own if event.action != "impression"]
            assert store.log.history(user, 3, shown) == counts[-3:]
            past = store.log.past(user, shown)
            assert list(past.item_ids) == [event.item_id for event in counts]
            assert past.timestamps.tolist() == [event.timestamp for event in counts]
        asked = [event for event in events if event.request_id or event.query]
        assert store.log.requested(99) == asked
        assert store.log.requested(2) == asked[-2:]
        queries = Counter(event.query for event in events if event.query)
        ordered = sorted(queries.items(), key=lambda pair: (-pair[1], pair[0]))
        assert store.log.queries() == [query for query, _ in ordered]
        assert rows_of(store) == [
            (
                *(event.user_id, event.item_id, event.timestamp, event.action, event.value),
                event.country,
            )
            for event in events
        ]


def rows_of(store: Store) -> list[tuple[object, ...]]:
    log = LogColumns.of_table(store.log.rows())
    values = [None if np.isnan(value) else value for value in log.values.tolist()]
    texts = (log.users, log.items, log.actions, log.countries or (np.zeros(len(log), int), [""]))
    users, items, actions, countries = ([names[code] for code in codes] for codes, names in texts)
    return list(zip(users, items, log.timestamps.tolist(), actions, values, countries, strict=True))


def test_numbers_of_events_grow_through_imports_and_packing(store):
    store.put_events([Event("u", "a", 5.0)])
    store.import_all([], [Event("u", "b", 1.0), Event("v", "b", 1.0)])
    assert store.log.position().seq == 3
    store.put_events([Event("u", "c", 2.0)])
    assert store.pack() == 2
    assert store.log.position().seq == 4
    mark, events = store.log.after(1, 10)
    assert (mark.seq, list(events.item_ids)) == (4, ["b", "b", "c"])
    assert len(store.log.after(1, 2)[1]) == 0
    store.put_events([Event("u", "d", 3.0)])
    assert store.log.position().seq == 5
    assert list(store.log.after(4, 10)[1].item_ids) == ["d"]


def test_events_are_counted_anew_whoever_writes(place, store):
    count = store.log.count
    assert count() == 0
    store.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "a", 1.0)])
    assert count() == 2
    with closing(place.open()) as other:
        other.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "b", 3.0)])
    assert count() == 3
    store.import_all([], [Event("u", "a", 1.0), Event("w", "a", 1.0)])
    assert count() == 5
    store.erase_user("v")
    assert count() == 3
    assert (store.log.active_users(1), store.log.active_users(0)) == ([("u", 2)], [])


def test_packing_removes_nothing_and_an_erasure_does(store):
    store.put_events([Event("u", "a", 1.0), Event("v", "a", 1.0)])
    before = store.log.position()
    store.pack()
    assert store.log.position() == before
    assert store.erase_user("nobody")[1] == 0
    with pytest.raises(DataError, match="user id '' cannot be erased: it is empty"):
        store.erase_user("")
    assert store.log.position() == before
    assert store.erase_user("u")[1] == 1
    assert store.log.position().removals == before.removals + 1


def test_small_packs_of_the_api_are_merged(store):
    store.import_all([], [Event("u", "a", 1.0)])
    for number in range(30):
        store.put_events([Event("u", "a", float(number), event_id=f"e{number}")])
        assert store.pack() == 1
    assert store.pack() == 0
    with store.database.read() as connection:
        assert len(store.log.packs(connection)) <= 4
    assert store.log.count() == 31
    assert store.put_events([Event("u", "a", 1.0, event_id="e17")]) == 0


def test_a_reader_meets_each_event_once_while_others_post_and_pack(place, store):
    count, met = 60, []

    def write() -> None:
        for number in range(count):
            store.put_events([Event("u", f"i{number}", float(number))])
            if number % 4 == 3:
                store.pack()

    with closing(place.open()) as reader, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            met.append([event.item_id for event in reader.log.history("u", 999)])
            assert reader.log.count() >= len(met[-1])
        writing.result()
        met.append([event.item_id for event in reader.log.history("u", 999)])
        for imported in ([Event("u", "filed", 1e9)], []):
            store.import_all([], imported)
            assert len(reader.log.history("u", 999)) == count + len(imported)
    assert all(names == [f"i{number}" for number in range(len(names))] for names in met)
    assert len(met[-1]) == count


def test_an_event_posted_while_an_import_is_written_came_first(place, store, after_a_pack):
    posts = [Event("u", "posted", 1.0, event_id="e")]
    files = [Event("u", "imported", 2.0, event_id="e"), Event("u", "other", 3.0, event_id="f")]
    with closing(place.open()) as other:
        after_a_pack(lambda: posts and other.put_events([posts.pop()]))
        assert store.import_all([], files).events == 1
    assert [event.item_id for event in store.log.history("u", 9)] == ["posted", "other"]


def test_a_long_tail_is_packed_in_pieces(store, monkeypatch):
    monkeypatch.setattr("serendip.data.store.event_log.pack_writer._MOST_MOVED", 4)
    events = [Event(f"u{n % 3}", "a", float(n), event_id=f"e{n}") for n in range(30)]
    store.put_events(events)
    assert store.pack() == 30
    assert store.put_events(events) == 0
    assert [event.timestamp for event in store.log.history("u1", 99)] == [
        float(n) for n in range(1, 30, 3)
    ]


def test_numbers_grow_beyond_32_bits(store):
    store.put_events([Event("u", "a", 1.0)])
    store.pack()
    with store.database.write() as connection:
        store.database.set_last_number(connection, "events", "seq", 2**32 + 5)
    store.put_events([Event("u", "b", 2.0), Event("u", "c", 3.0)])
    assert store.pack() == 2
    mark, events = store.log.after(2**32 + 6, 2**40)
    assert (mark.seq, list(events.item_ids)) == (2**32 + 7, ["c"])


def test_an_erasure_while_bytes_are_removed_is_not_taken_as_done(place, store, monkeypatch):
    store.put_events([Event(name, f"of-{name}", 1.0) for name in ("u", "v")])
    store.pack()
    store.erase_user("u")
    repack = PackWriter.repack

    def repack_and_erase(self):
        repack(self)
        with closing(place.open()) as other:
            other.erase_user("v")

    monkeypatch.setattr(PackWriter, "repack", repack_and_erase)
    store.remove_erased()
    assert store.has_remains()
