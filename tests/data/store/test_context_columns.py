from contextlib import closing

import numpy as np
import pytest

from serendip.data import ActionRules, Event, Item
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import temporal
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.errors import DataError

PHONE = Event("u", "a", 1.0, country="France", device="phone")
PLAIN = Event("u", "b", 2.0)
ABROAD = Event("v", "a", 3.0, session_id="s1", country="Spain", device="tablet")


@pytest.fixture
def store(store: Store) -> Store:
    store.put_items([Item("a"), Item("b")])
    return store


def test_a_snapshot_gives_an_event_without_a_country_that_of_its_user_before(store):
    store.put_events([PHONE, PLAIN, ABROAD, Event("w", "b", 4.0)])
    dataset = take_snapshot(store, ActionRules())
    names = (*dataset.countries.names, "")
    assert [names[code] for code in dataset.events.countries] == ["France", "France", "Spain", ""]
    assert dataset.countries_by_user() == {"u": "France", "v": "Spain"}
    assert [(*dataset.device_names, "")[code] for code in dataset.events.devices] == [
        *("phone", "", "tablet", "")
    ]


@pytest.mark.parametrize("users", [("u", "v", "w"), ("w", "v", "u")])
def test_countries_are_in_the_order_of_their_names(store, users):
    """However they came: a later training knows them by the same numbers."""
    named = dict(zip("uvw", ("France", "Spain", "Austria"), strict=True))
    store.put_events([Event("x", "a", 0.0)])
    store.put_events(Event(user, "a", 1.0, country=named[user]) for user in users)
    store.users.put(User("x", {"country": "Belgium"}))
    dataset = take_snapshot(store, ActionRules())
    assert dataset.countries.names == ("Austria", "Belgium", "France", "Spain")
    assert dataset.countries_by_user() == {**named, "x": "Belgium"}
    found = [dataset.countries.names[code] for code in dataset.events.countries]
    assert sorted(found) == sorted(["Belgium", *named.values()])


def test_groups_of_users_reach_the_targets_and_the_training_part(store):
    store.users.put(User("u", {"plan": "free", "age": 40.0}))
    store.users.put(User("v", {"plan": "paid", "country": "Spain"}))
    store.put_events(
        [Event("w", "b", 0.0), *(Event("v", "b", time) for time in (1.0, 2.0, 3.0, 4.0))]
    )
    store.put_events([Event("v", "a", 9.0), Event("u", "a", 10.0)])
    dataset = take_snapshot(store, ActionRules())
    assert list(dataset.user_groups) == ["plan"]
    split = temporal(dataset, 0.7)
    names, of_users = split.train.user_groups["plan"].names, split.train.user_groups["plan"]
    numbers = of_users.of_users[split.train.users.numbers(["w", "v"])].tolist()
    assert [names[number] if number >= 0 else "" for number in numbers] == ["", "paid"]
    asked = {query.user_id: query.user_groups for query in split.targets.queries()}
    assert asked == {"v": {"plan": "paid"}, "u": {"plan": "free"}}
    assert split.targets.past_before("v", 9.0).groups == {"plan": "paid"}


def event_countries(dataset):
    names = (*dataset.countries.names, "")
    return [names[code] for code in dataset.events.countries.tolist()]


def test_targets_have_the_country_that_was_known_at_their_time(store):
    store.put_items([Item(name) for name in "cdef"])
    places = {"a": "", "b": "France", "c": "", "d": "Spain", "e": ""}
    store.put_events(
        [
            Event(user, item, float(time), country=country if user == "u" else "")
            for time, (item, country) in enumerate(places.items())
            for user in ("u", "w", "x")
        ]
    )
    store.put_events([Event("x", "f", 9.0, country="Spain")])
    store.users.put(User("w", {"country": "Italy"}))
    targets = temporal(take_snapshot(store, ActionRules()), 0.1).targets
    found = {
        user: [targets.country(row) for row in range(len(targets)) if targets.users[row] == user]
        for user in "uwx"
    }
    assert found["u"] == ["France", "France", "Spain", "Spain"]
    assert found["w"] == ["Italy"] * 4
    assert found["x"] == ["", "", "", "", "Spain"]
    pasts = [targets.past_before("u", float(time)).country for time in range(6)]
    assert pasts == ["", "", "France", "France", "Spain", "Spain"]
    assert targets.past_before("w", 0.0).country == "Italy"
    assert targets.past_before("x", 9.0).country == ""
    assert targets.past_before("nobody", 9.0).country == ""


def test_a_training_part_knows_what_a_snapshot_of_its_time_knows(tmp_path):
    random = np.random.default_rng(3)
    events = [
        Event(
            f"u{random.integers(6)}",
            "ab"[random.integers(2)],
            float(time),
            country=random.choice(["", "", "", "France", "Spain"]),
        )
        for time in range(60)
    ]

    def snapshot_until(time):
        with closing(Store.create(tmp_path / f"{time}.db")) as store:
            store.put_items([Item("a"), Item("b")])
            store.put_events([event for event in events if event.timestamp <= time])
            store.users.put(User("u0", {"country": "Italy"}))
            return take_snapshot(store, ActionRules())

    dataset = snapshot_until(60.0)
    for fraction in (0.05, 0.2, 0.5, 0.8):
        train = temporal(dataset, fraction).train
        then = snapshot_until(float(train.events.timestamps[-1]))
        assert train.countries_by_user() == then.countries_by_user()
        assert event_countries(train) == event_countries(then)
        inner = temporal(dataset, 0.9).train  # a part of a part, likewise
        again = temporal(inner, len(train.events) / len(inner.events)).train
        assert len(again.events) == len(train.events)
        assert again.countries_by_user() == then.countries_by_user()


def test_an_import_replaces_users_of_files_and_leaves_those_of_the_api(store):
    store.import_tables(*empty_tables(), lambda: [User("f", {"plan": "a"}), User("p")])
    store.users.put(User("p", {"plan": "posted"}))
    changes = store.users.changes()
    store.import_tables(*empty_tables(), lambda: [User("g"), User("p", {"plan": "file"})])
    assert store.users.all() == [User("g"), User("p", {"plan": "posted"})]
    assert store.users.changes() > changes


def empty_tables():
    from serendip.data.events.event_table import tabulate_events
    from serendip.data.store.item_rows import tabulate_items

    return lambda: tabulate_items([]), lambda: tabulate_events([])


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        (User(""), "user_id '' is empty"),
        (User("u", {"country": 7.0}), "attribute 'country' 7.0 is not a text"),
        (User("u", {"country": "x" * 600}), "country.*600 bytes"),
        (User("u", {"age": float("nan")}), "attribute 'age' nan is not a finite number"),
    ],
)
def test_an_invalid_user_is_named_and_not_stored(store, user, problem):
    with pytest.raises(DataError, match=problem):
        store.users.put(user)
    assert store.users.all() == []
