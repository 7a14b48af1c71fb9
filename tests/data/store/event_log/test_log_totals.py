"""Totals that follow the log say the same as counting it anew, whoever writes."""

from __future__ import annotations

from contextlib import closing

from serendip.data.events.event import Event


def test_they_follow_events_of_any_writer(place, store):
    totals = store.totals()
    assert (totals.users(5), totals.num_events) == ([], 0)
    store.put_events([Event("u", "a", 1.0), Event("v", "a", 1.0, "impression")])
    assert (totals.users(5), totals.num_events) == ([("u", 1), ("v", 1)], 2)
    with closing(place.open()) as other:
        other.put_events([Event("v", "a", 2.0), Event("v", "b", 3.0)])
    assert (totals.users(5), totals.num_events) == ([("v", 3), ("u", 1)], 4)
    assert totals.users(1) == [("v", 3)]
    assert totals.users(0) == []


def test_an_event_that_was_known_is_counted_once(store):
    totals = store.totals()
    for _ in range(2):
        store.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "a", 1.0)])
        totals.follow()
    assert (totals.num_events, totals.users(2)) == (3, [("v", 2), ("u", 1)])


def test_events_that_an_import_took_out_are_counted_no_more(store):
    totals = store.totals()
    store.import_all([], [Event("u", "a", 1.0), Event("v", "a", 1.0)])
    assert totals.users(5) == [("u", 1), ("v", 1)]
    store.import_all([], [Event("v", "a", 1.0)])
    assert (totals.users(5), totals.num_events) == ([("v", 1)], 1)


def test_users_are_counted_again_once_a_hundredth_of_the_events_is_new(store):
    totals = store.totals()
    store.put_events([Event("u", "a", 1.0) for _ in range(200)])
    assert totals.users(2) == [("u", 200)]
    store.put_events([Event("v", "a", 1.0), Event("v", "a", 1.0)])
    assert (totals.users(2), totals.num_events) == ([("u", 200)], 202)
    store.put_events([Event("v", "a", 1.0)])
    assert totals.users(2) == [("u", 200), ("v", 3)]
    store.erase_user("v")
    assert totals.users(2) == [("u", 200)]
