"""Totals that follow the log say the same as counting it anew, whoever writes."""

from contextlib import closing

from serendip.data.events.event import Event


def test_they_follow_the_log_whoever_writes(place, store):
    totals = store.totals()

    def count():
        totals.follow()
        return totals.num_events

    assert count() == 0
    store.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "a", 1.0)])
    assert count() == 2
    with closing(place.open()) as other:
        other.put_events([Event("u", "a", 1.0, event_id="e"), Event("v", "b", 3.0)])
    assert count() == 3
    store.import_all([], [Event("u", "a", 1.0), Event("w", "a", 1.0)])
    assert count() == 5
    store.import_all([], [Event("w", "a", 1.0)])
    assert count() == 4
    store.erase_user("v")
    assert count() == 2
    assert store.active_users(5) == [("u", 1), ("w", 1)]
    assert (store.active_users(1), store.active_users(0)) == ([("u", 1)], [])
