from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.live.user_histories import UserHistories

ITEMS = Vocabulary("abc")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "events.db")
    yield store
    store.close()


def click(user: str, item: str, time: float, action: str = "click") -> Event:
    return Event(user, item, time, action)


def item_ids(histories: UserHistories, user: str, vocabulary: Vocabulary = ITEMS) -> str:
    return "".join(vocabulary.ids_of(histories.of(user, vocabulary).history.item_nums))


def test_a_history_has_the_interactions_with_known_items_in_order_of_time(store: Store) -> None:
    events = [click("u", "b", 3), click("u", "a", 1, "like"), click("v", "c", 2)]
    store.put_events([*events, click("u", "c", 2, "impression"), click("u", "?", 2)])
    history = UserHistories(store, ActionRules()).of("u", ITEMS).history
    assert history.item_nums.tolist() == [0, 1]
    assert history.timestamps.tolist() == [1.0, 3.0]
    assert history.liked.tolist() == [True, False]
    assert len(UserHistories(store, ActionRules()).of("nobody", ITEMS).history) == 0


def test_the_next_answer_has_the_events_of_all_writers(store: Store, tmp_path: Path) -> None:
    histories = UserHistories(store, ActionRules())
    store.put_events([click("u", "a", 1), click("u", "b", 5)])
    assert item_ids(histories, "u") == "ab"
    assert item_ids(histories, "v") == ""
    other = Store.open(tmp_path / "events.db")
    other.put_events([click("u", "c", 3), click("v", "c", 3), click("u", "a", 5)])
    assert item_ids(histories, "u") == "acba"
    assert item_ids(histories, "u") == "acba"
    assert item_ids(histories, "v") == "c"
    other.close()


def test_no_event_is_missed_if_more_are_new_than_the_log_is_followed_for(store: Store) -> None:
    histories = UserHistories(store, ActionRules())
    assert item_ids(histories, "u") == ""
    store.put_events([click(f"v{n}", "a", n) for n in range(1_500)] + [click("u", "b", 1)])
    assert item_ids(histories, "u") == "b"


def test_an_item_posted_later_appears_at_its_time(store: Store) -> None:
    store.put_events([click("u", "a", 1), click("u", "new", 2), click("u", "b", 3)])
    histories = UserHistories(store, ActionRules())
    assert item_ids(histories, "u") == "ab"
    store.put_events([click("u", "c", 0)])
    assert item_ids(histories, "u") == "cab"
    more = ITEMS.extended(["new"])
    assert histories.of("u", more).history.item_nums.tolist() == [2, 0, 3, 1]
    # A request that began before the item was posted does not know it.
    assert item_ids(histories, "u") == "cab"


def test_who_was_erased_is_forgotten_without_reading_the_log(store: Store) -> None:
    store.put_events([click("u", "a", 1), click("v", "b", 1)])
    histories = UserHistories(store, ActionRules())
    assert (item_ids(histories, "u"), item_ids(histories, "v")) == ("a", "b")
    histories.forget("u")
    assert histories.cached("u") is None and histories.num_events == 1
    histories.forget("nobody")
    assert histories.cached("v") is not None


@pytest.mark.parametrize("max_events", [0, 30, 60, 10**6])
def test_answers_do_not_depend_on_the_size_of_the_cache(store: Store, max_events: int) -> None:
    histories = UserHistories(store, ActionRules(), max_events=max_events)
    random = np.random.default_rng(0)
    written: dict[str, list[tuple[float, int, str]]] = {}
    for step in range(120):
        user, item = f"u{random.integers(5)}", "abc"[random.integers(3)]
        time = float(random.integers(20))
        store.put_events([click(user, item, time)])
        written.setdefault(user, []).append((time, step, item))
        reader = f"u{random.integers(5)}"
        expected = "".join(item for _, _, item in sorted(written.get(reader, [])))
        assert item_ids(histories, reader) == expected
        assert histories.num_events <= max_events


def test_the_country_is_that_of_the_attributes_else_of_the_newest_event(store: Store) -> None:
    histories = UserHistories(store, ActionRules())
    assert histories.of("u", ITEMS).country == ""
    store.put_events([Event("u", "a", 5, country="France"), Event("u", "b", 9)])
    assert histories.of("u", ITEMS).country == "France"
    assert UserHistories(store, ActionRules()).of("u", ITEMS).country == "France"
    store.put_events([Event("u", "?", 11, country="Spain")])
    assert histories.of("u", ITEMS).country == "Spain"
    store.users.put(User("u", {"country": "Italy"}))
    assert histories.of("u", ITEMS).country == "Italy"
    store.users.put(User("u", {}))
    assert histories.of("u", ITEMS).country == "Spain"
    assert histories.of("v", ITEMS).country == ""


def test_the_groups_of_a_user_are_those_of_the_newest_write(store: Store) -> None:
    histories = UserHistories(store, ActionRules())
    assert histories.of("u", ITEMS).groups == {}
    store.users.put(User("u", {"plan": "free", "country": "Italy", "age": 3.0}))
    assert histories.of("u", ITEMS).groups == {"plan": "free"}
    store.users.put(User("u", {"plan": "paid"}))
    assert histories.of("u", ITEMS).groups == {"plan": "paid"}
    store.erase_user("u")
    assert histories.of("u", ITEMS).groups == {}


def test_a_request_in_time_of_need_has_what_the_last_one_read(store: Store) -> None:
    histories = UserHistories(store, ActionRules())
    store.put_events([click("u", "a", 1)])
    assert item_ids(histories, "u") == "a"
    store.put_events([click("u", "b", 2)])
    histories.of("v", ITEMS)
    past = histories.cached("u")
    assert past is not None and past.history.item_nums.tolist() == [0]
    assert item_ids(histories, "u") == "ab"
