"""One segment: its by-user index says what a scan says, and what is damaged is refused by name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.events.event import Event
from serendip.data.log import segment as module
from serendip.data.log.columns import rank_by_first
from serendip.data.log.event_table import is_first, tabulate_events
from serendip.data.log.segment import Segment, stable_order, write_segment
from serendip.data.store.store import Store
from serendip.errors import StorageError


def written(folder: Path, events: list[Event]) -> Segment:
    folder.mkdir()
    return Segment.open(
        folder, write_segment(folder, tabulate_events(events), np.arange(len(events)))
    )


def random_events(count: int) -> list[Event]:
    random = np.random.default_rng(0)
    return [
        Event(
            f"u{random.integers(40)}",
            f"i{random.integers(60)}",
            float(random.integers(200)),
            ["click", "like"][random.integers(2)],
            [None, 2.5][random.integers(2)],
            query=["", f"q{random.integers(9)}"][random.integers(2)],
            event_id=f"e{number}",
        )
        for number in range(count)
    ]


def test_the_index_of_a_user_says_what_a_scan_says(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROW_GROUP", 64)  # a user's rows lie in several groups
    events = random_events(1_000)
    segment = written(tmp_path / "s", events)
    for user in {event.user_id for event in events}:
        rows = segment.rows_of(user)
        scanned = sorted((e for e in events if e.user_id == user), key=lambda e: e.timestamp)
        assert segment.events(np.arange(rows.start, rows.stop)) == scanned
        assert segment.times[rows].tolist() == [event.timestamp for event in scanned]
    assert segment.rows_of("nobody") == segment.rows_of("u") == slice(0, 0)
    assert len(segment) == 1_000


def test_counts_of_users_leave_actions_out(tmp_path):
    events = random_events(300)
    segment = written(tmp_path / "s", events)
    for without in ((), ("like",), ("like", "click"), ("never",)):
        counts = dict(
            zip(segment.user_ids.to_pylist(), segment.counts_by_user(without).tolist(), strict=True)
        )
        for user, count in counts.items():
            kept = [e for e in events if e.user_id == user and e.action not in without]
            assert count == len(kept)


def test_an_event_id_is_found_and_others_are_not(tmp_path):
    segment = written(tmp_path / "s", [Event("u", "a", 1.0, event_id=name) for name in "bdé"])
    assert [segment.has_event(name) for name in ("b", "d", "é", "a", "c", "z", "")] == [
        *(True, True, True),
        *(False,) * 4,
    ]
    assert not written(tmp_path / "t", [Event("u", "a", 1.0)]).has_event("b")


@pytest.mark.parametrize(
    "name",
    ["events.parquet", "users.arrow", "offsets.npy", "items.npy", "times.npy", "manifest.json"],
)
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_a_damaged_segment_is_refused_by_name(tmp_path, name, how):
    with closing(Store.create(tmp_path / "s.db")) as store:
        store.import_all([], random_events(50))
    (folder,) = (tmp_path / "log").glob("segment-*")
    path = folder / name
    if how == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with closing(Store.open(tmp_path / "s.db")) as store:
        for read in (store.content, lambda: store.history("u1", 5)):
            with pytest.raises(StorageError, match=folder.name) as caught:
                read()
            assert "serendip import" in caught.value.hint


def test_a_missing_segment_is_named_and_an_import_brings_the_files_back(tmp_path):
    with closing(Store.create(tmp_path / "s.db")) as store:
        store.import_all([], random_events(50))
    (folder,) = (tmp_path / "log").glob("segment-*")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with closing(Store.open(tmp_path / "s.db")) as store:
        with pytest.raises(StorageError, match=f"{folder.name} of the event log is missing"):
            store.history("u1", 5)
        assert store.import_all([], random_events(20)).events == 20
        assert store.count_events() == len(store.content().events) == 20


@given(st.lists(st.integers(0, 200_000), max_size=50))
def test_the_radix_order_is_the_stable_order(numbers):
    codes = np.array(numbers, np.int32)
    assert stable_order(codes).tolist() == np.argsort(codes, kind="stable").tolist()


@given(st.lists(st.integers(0, 9), max_size=30))
def test_codes_are_renumbered_by_first_appearance(numbers):
    codes, old = rank_by_first(np.array(numbers, np.int32), 10)
    distinct = list(dict.fromkeys(numbers))
    assert old.tolist() == distinct
    assert codes.tolist() == [distinct.index(number) for number in numbers]
    seen = [number not in numbers[:row] for row, number in enumerate(numbers)]
    assert is_first(np.array(numbers, np.int32)).tolist() == seen
