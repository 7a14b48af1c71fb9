import threading
from contextlib import closing

import numpy as np

from serendip.data.events.event import EXCLUSIONS, ActionRules, Event
from serendip.data.items.catalogue import Item
from serendip.data.snapshot import read_snapshot, take_snapshot
from serendip.data.store.store import Store


def opened(tmp_path):
    return closing(Store.create(tmp_path / "s.db"))


def test_a_snapshot_holds_interactions_with_known_items_in_order_of_time(tmp_path):
    with opened(tmp_path) as store:
        store.put_items([Item("b"), Item("a"), Item("gone")])
        store.delete_item("gone")
        store.put_events(
            [
                Event("v", "a", 9.0, "rate", 4.0),
                Event("u", "b", 2.0, "rate", 3.0),
                Event("u", "a", 2.0, "purchase"),
                Event("u", "a", 1.0, "impression"),
                Event("u", "gone", 1.0),
                Event("u", "", 1.0, "search", query="q"),
                Event("only", "never", 1.0),
            ]
        )
        data = take_snapshot(store, ActionRules())
    assert data.catalogue.vocabulary.ids == ("b", "a")
    assert data.users.ids == ("u", "v")
    assert data.events.users.tolist() == [0, 0, 1]
    assert data.events.items.tolist() == [0, 1, 1]
    assert data.events.timestamps.tolist() == [2.0, 2.0, 9.0]
    assert data.events.liked.tolist() == [False, True, True]
    np.testing.assert_array_equal(data.events.values, np.array([3, np.nan, 4], np.float32))


def test_actions_may_differ_in_strength(tmp_path):
    with opened(tmp_path) as store:
        store.put_items([Item("a")])
        store.put_events([Event("u", "a", 1.0, "view"), Event("u", "a", 2.0, "purchase")])
        plain = take_snapshot(store, ActionRules())
        rules = ActionRules(strengths={"purchase": 5.0})
        data = take_snapshot(store, rules)
    assert plain.events.strengths is None
    assert data.events.strengths.tolist() == [1.0, 5.0]
    assert data.events.rows(np.array([False, True])).strengths.tolist() == [5.0]


def test_negative_events_are_kept_apart_from_interactions(tmp_path):
    rules = ActionRules(dislike_at_most=2.0)
    with opened(tmp_path) as store:
        store.put_items([Item("a"), Item("b")])
        store.put_events(
            [
                Event("u", "a", 1.0, "rate", 5.0),
                Event("u", "b", 2.0, "rate", 2.0),
                Event("u", "a", 3.0, "hide"),
                Event("u", "a", 4.0, "like"),
                Event("nay", "b", 5.0, "dislike"),
                Event("u", "b", 6.0, "skip"),
                Event("u", "b", 6.5, "impression"),
                Event("u", "gone", 7.0, "hide"),
            ]
        )
        data = take_snapshot(store, rules)
    assert data.users.ids == ("u",)
    assert data.events.timestamps.tolist() == [1.0, 4.0]
    assert [data.action_names[place] for place in data.events.actions] == ["rate", "like"]
    assert data.item_counts().tolist() == [2, 0]
    log = data.negatives
    assert log.timestamps.tolist() == [2.0, 3.0, 5.0, 6.0]
    assert log.users.tolist() == [0, 0, -1, 0]
    assert log.items.tolist() == [1, 0, 1, 1]
    assert log.until.tolist() == [np.inf, 4.0, np.inf, np.inf]
    assert [EXCLUSIONS[place] for place in log.exclusions] == [
        "recommendations",
        "everywhere",
        "recommendations",
        "nowhere",
    ]
    np.testing.assert_array_equal(log.values, np.array([2, np.nan, np.nan, np.nan], np.float32))


def test_a_snapshot_ends_at_its_place_in_the_log_while_events_arrive(tmp_path):
    path, done = tmp_path / "serendip.db", threading.Event()
    Store.create(path).close()
    with closing(Store.open(path)) as store:
        store.put_items([Item("a")])

    def write() -> None:
        with closing(Store.open(path)) as writer:
            number = 0
            while not done.is_set():
                number += 1
                writer.put_events([Event("u", "a", float(number), "click")])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with closing(Store.open(path)) as store:
            taken = [read_snapshot(store, ActionRules()) for _ in range(30)]
    finally:
        done.set()
        thread.join()
    assert [len(one.dataset.events) for one in taken] == [one.event_seq for one in taken]
    assert taken[-1].event_seq > taken[0].event_seq


def test_impressions_of_known_items_are_kept_apart(tmp_path):
    with opened(tmp_path) as store:
        store.put_items([Item("a"), Item("b")])
        store.put_events(
            [
                Event("u", "b", 3.0, "impression"),
                Event("v", "b", 1.0, "impression"),
                Event("u", "a", 2.0, "impression"),
                Event("u", "gone", 2.0, "impression"),
                Event("u", "a", 2.5),
            ]
        )
        data = take_snapshot(store, ActionRules())
    assert data.impressions.items.tolist() == [1, 0, 1]
    assert data.impressions.timestamps.tolist() == [1.0, 2.0, 3.0]
    assert data.item_counts().tolist() == [1, 0]
