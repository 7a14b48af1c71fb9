from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serendip.data.event import ActionRules, Event
from serendip.data.store.store import Store
from serendip.data.vocabulary import Vocabulary
from serendip.engine.user_histories import UserHistories

ITEMS = Vocabulary("abc")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.create(tmp_path / "events.db")
    yield opened
    opened.close()


def click(user: str, item: str, time: float, action: str = "click") -> Event:
    return Event(user, item, time, action)


def items_of(pasts: UserHistories, user: str, vocabulary: Vocabulary = ITEMS) -> str:
    return "".join(vocabulary.ids_of(pasts.of(user, vocabulary).history.item_nums))


def test_interactions_with_known_items_in_order_of_time(store: Store) -> None:
    events = [click("u", "b", 3), click("u", "a", 1, "like"), click("v", "c", 2)]
    store.put_events([*events, click("u", "c", 2, "impression"), click("u", "?", 2)])
    found = UserHistories(store, ActionRules()).of("u", ITEMS).history
    assert found.item_nums.tolist() == [0, 1]
    assert found.timestamps.tolist() == [1.0, 3.0]
    assert found.liked.tolist() == [True, False]
    assert len(UserHistories(store, ActionRules()).of("nobody", ITEMS).history) == 0


def test_events_of_any_writer_are_in_the_next_answer(store: Store, tmp_path: Path) -> None:
    pasts = UserHistories(store, ActionRules())
    store.put_events([click("u", "a", 1), click("u", "b", 5)])
    assert items_of(pasts, "u") == "ab"
    assert items_of(pasts, "v") == ""
    other = Store.open(tmp_path / "events.db")
    other.put_events([click("u", "c", 3), click("v", "c", 3), click("u", "a", 5)])
    assert items_of(pasts, "u") == "acba"
    assert items_of(pasts, "u") == "acba"
    assert items_of(pasts, "v") == "c"
    other.close()


def test_more_new_events_than_are_followed_are_not_missed(store: Store) -> None:
    pasts = UserHistories(store, ActionRules())
    assert items_of(pasts, "u") == ""
    store.put_events([click(f"v{n}", "a", n) for n in range(1_500)] + [click("u", "b", 1)])
    assert items_of(pasts, "u") == "b"


def test_events_that_an_import_took_out_are_gone(store: Store) -> None:
    store.import_all([], [click("u", "a", 1)])
    store.put_events([click("u", "b", 2)])
    pasts = UserHistories(store, ActionRules())
    assert items_of(pasts, "u") == "ab"
    store.import_all([], [])
    assert items_of(pasts, "u") == "b"
    store.import_all([], [click("u", "c", 1)])
    assert items_of(pasts, "u") == "cb"


def test_an_item_that_is_posted_later_appears_in_its_place(store: Store) -> None:
    store.put_events([click("u", "a", 1), click("u", "new", 2), click("u", "b", 3)])
    pasts = UserHistories(store, ActionRules())
    assert items_of(pasts, "u") == "ab"
    store.put_events([click("u", "c", 0)])
    assert items_of(pasts, "u") == "cab"
    more = ITEMS.extended(["new"])
    assert pasts.of("u", more).history.item_nums.tolist() == [2, 0, 3, 1]
    # A request that began before the item came does not know it.
    assert items_of(pasts, "u") == "cab"


def test_answers_given_before_do_not_change(store: Store) -> None:
    store.put_events([click("u", "a", 1), click("u", "new", 2)])
    pasts = UserHistories(store, ActionRules())
    first = pasts.of("u", ITEMS).history
    store.put_events([click("u", "b", 0)])
    pasts.of("u", ITEMS.extended(["new"]))
    assert first.item_nums.tolist() == [0]


@pytest.mark.parametrize("room", [0, 30, 60, 10**6])
def test_answers_do_not_depend_on_the_room_there_is(store: Store, room: int) -> None:
    pasts = UserHistories(store, ActionRules(), most_events=room)
    random = np.random.default_rng(0)
    written: dict[str, list[tuple[float, int, str]]] = {}
    for step in range(120):
        user, item = f"u{random.integers(5)}", "abc"[random.integers(3)]
        time = float(random.integers(20))
        store.put_events([click(user, item, time)])
        written.setdefault(user, []).append((time, step, item))
        asked = f"u{random.integers(5)}"
        assert items_of(pasts, asked) == "".join(one[2] for one in sorted(written.get(asked, [])))
        assert pasts.num_events <= room


def test_threads_that_write_and_read_see_their_own_events(store: Store) -> None:
    pasts = UserHistories(store, ActionRules())
    wrong: list[str] = []

    def work(user: str) -> None:
        for step in range(15):
            store.put_events([click(user, "abc"[step % 3], step)])
            found = items_of(pasts, user)
            if found != ("abc" * 5)[: step + 1]:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(f"u{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
