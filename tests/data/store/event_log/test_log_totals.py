"""Totals that follow the log say the same as counting it anew, whoever writes."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy import event as hooks

from serendip.data.events.event import Event
from serendip.data.store.event_log.view import LogView
from serendip.errors import StorageError


def test_they_follow_events_of_any_writer(place, store):
    totals = store.totals()
    assert (totals.users(5), totals.num_events) == ([], 0)
    store.put_events([Event("u", "a", 1.0), Event("v", "a", 1.0, "impression")])
    assert (totals.users(5), totals.num_events) == ([("u", 1), ("v", 1)], 2)
    with closing(place.open()) as other:
        other.put_events([Event("v", "a", 2.0), Event("v", "b", 3.0)])
    assert totals.num_events == 2
    assert (totals.users(5), totals.num_events) == ([("v", 3), ("u", 1)], 4)
    assert totals.users(1) == [("v", 3)]
    assert totals.users(0) == []


def test_an_event_that_was_known_is_counted_once(store):
    totals = store.totals()
    for _ in range(2):
        store.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "a", 1.0)])
        totals.follow()
    assert (totals.num_events, totals.users(2)) == (3, [("v", 2), ("u", 1)])


def test_added_events_are_in_the_number_at_once_and_counted_once(store):
    totals = store.totals()
    store.put_events([Event("u", "a", 1.0)])
    totals.follow()
    totals.add(store.put_events([Event("v", "a", 1.0), Event("v", "b", 1.0)]))
    assert totals.num_events == 3
    for _ in range(2):
        totals.follow()
        assert totals.num_events == 3
    totals.add(1)  # noted after an update that had counted it already
    totals.follow()
    assert (totals.num_events, totals.users(2)) == (3, [("v", 2), ("u", 1)])


def test_added_events_are_in_the_number_while_an_update_counts_and_after_one_that_fails(
    store, monkeypatch
):
    totals, seen, fails = store.totals(), list[int](), [False]
    store.put_events([Event("u", "a", 1.0)])
    totals.follow()
    totals.add(store.put_events([Event("v", "a", 1.0), Event("v", "b", 1.0)]))
    count = LogView.count

    def watch(view: LogView) -> int:
        seen.append(totals.num_events)
        if fails[0]:
            raise StorageError("a segment cannot be read.")
        return count(view)

    monkeypatch.setattr(LogView, "count", watch)
    totals.follow()
    assert (seen, totals.num_events) == ([3], 3)
    totals.add(store.put_events([Event("w", "a", 1.0)]))
    fails[0] = True
    with pytest.raises(StorageError, match="a segment cannot be read"):
        totals.follow()
    assert (seen, totals.num_events) == ([3, 4], 4)


def test_events_that_an_import_took_out_are_counted_no_more(store):
    totals = store.totals()
    store.import_all([], [Event("u", "a", 1.0), Event("v", "a", 1.0)])
    assert totals.users(5) == [("u", 1), ("v", 1)]
    store.import_all([], [Event("v", "a", 1.0)])
    assert (totals.users(5), totals.num_events) == ([("v", 1)], 1)


@pytest.mark.parametrize(("kept", "followed"), [(1_000, 500), (3, 500), (3, 2)])
def test_they_are_exact_however_many_users_are_kept_and_followed(
    store, monkeypatch, kept, followed
):
    monkeypatch.setattr("serendip.data.store.event_log.totals._MOST_USERS", kept)
    monkeypatch.setattr("serendip.data.store.event_log.totals._FOLLOWED_USERS", followed)
    totals, random, wanted = store.totals(), np.random.default_rng(0), Counter()
    for _ in range(60):
        users = [f"u{number}" for number in random.integers(8, size=random.integers(5))]
        wanted.update(users)
        store.put_events([Event(user, "a", 1.0) for user in users])
        ordered = sorted(wanted.items(), key=lambda pair: (-pair[1], pair[0]))
        assert totals.users(3) == ordered[:3]
        assert totals.users(8) == ordered
        assert totals.num_events == wanted.total()


def test_the_log_is_counted_once_and_then_only_what_was_appended(store):
    totals, statements = store.totals(), []
    store.put_events([Event("u", "a", 1.0)])
    totals.users(5)

    @hooks.listens_for(Engine, "before_cursor_execute")
    def executed(connection, cursor, statement, *_):
        statements.append(statement)

    try:
        totals.users(5)
        store.put_events([Event("v", "a", 1.0)])
        assert totals.users(5) == [("u", 1), ("v", 1)]
    finally:
        hooks.remove(Engine, "before_cursor_execute", executed)
    counting = [one for one in statements if "count(" in one or "sum(" in one]
    assert len([one for one in counting if "user_id" in one]) == 1
    assert all("user_id IN" in one for one in counting if "user_id" in one)
