"""A surface that promises impressions to new items keeps its promise, and no longer than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.items.fair_start import DAY_S, NO_PROMISE
from serendip.engine.answer import Answer
from serendip.engine.engine import Engine
from serendip.engine.live.counts import LiveCounts, with_starts
from serendip.engine.request import Request
from serendip.errors import ConfigError

NOW = 1_700_000_000.0
NEW = [f"new{number}" for number in range(6)]
USERS = [f"u{number}" for number in range(12)]


def promise(shop: Path, settings: str) -> None:
    with (shop / "serendip.toml").open("a") as file:
        file.write(f"\n[surfaces.home.exploration]\n{settings}\n")


@pytest.fixture
def fair(shop: Path) -> Path:
    promise(shop, "share = 0.5\nmax_loss = 1\npromised_impressions = 3\npromised_days = 2")
    return shop


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(fair: Path, clock: Clock) -> Iterator[Engine]:
    with closing(Engine.open(fair, clock)) as engine:
        engine.add_items([Item(name, f"The tale of {name}") for name in NEW])
        yield engine


def ask(engine: Engine, user: str, k: int = 4) -> Answer:
    return engine.recommend(Request("home", user_id=user, k=k))


def show(engine: Engine, user: str, clock: Clock, k: int = 4) -> Answer:
    """Answer a request, and log that all of it was seen."""
    answer = ask(engine, user, k)
    engine.add_events(
        [
            Event(
                user, item.item_id, clock.now, "impression", propensity=item.parts.get("propensity")
            )
            for item in answer.items
        ]
    )
    engine.catch_up()
    return answer


def explored(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items if "explored" in item.parts]


def owed(engine: Engine, time: float) -> set[str]:
    state, numbers = engine.state, np.arange(engine.state.num_items, dtype=np.int32)
    surface = engine.settings.all_surfaces()["home"]
    return set(engine.item_ids(numbers[state.find_owed(surface.promise, numbers, time)]))


def test_every_new_item_has_the_impressions_that_were_promised(
    opened: Engine, clock: Clock
) -> None:
    shown: Counter[str] = Counter()
    for user in USERS:
        if not owed(opened, clock.now):
            break
        answer = show(opened, user, clock)
        left = owed(opened, clock.now)
        shown.update(item.item_id for item in answer.items)
        assert left == {name for name in NEW if shown[name] < 3}
    assert owed(opened, clock.now) == set()
    assert min(shown[name] for name in NEW) >= 3


def test_an_item_that_is_owed_comes_before_other_new_ones_and_its_propensity_says_so(
    opened: Engine, clock: Clock
) -> None:
    others = [name for name in NEW if name != "new4"]
    opened.add_events(
        [Event("v", name, clock.now, "impression") for name in others for _ in range(3)]
    )
    opened.catch_up()
    assert owed(opened, clock.now) == {"new4"}
    for user in USERS:
        first = next(item for item in ask(opened, user).items if "explored" in item.parts)
        assert (first.item_id, first.parts["propensity"]) == ("new4", 1.0)


def test_an_item_that_was_chosen_before_it_was_shown_often_enough_is_still_owed(
    opened: Engine, clock: Clock
) -> None:
    for name in NEW:
        for number in range(3 if name != "new2" else 1):
            opened.add_events([Event("v", name, clock.now, "impression")])
            opened.add_events([Event(f"w{number}", name, clock.now, "rate", 5.0)])
    opened.catch_up()
    assert owed(opened, clock.now) == {"new2"}
    assert explored(ask(opened, "u1"))[0] == "new2"


def test_the_promise_ends_after_its_days(opened: Engine, clock: Clock) -> None:
    opened.add_events([Event("v", "new1", clock.now, "impression")])
    opened.catch_up()
    assert "new1" in owed(opened, clock.now + 2 * DAY_S - 1)
    assert "new1" not in owed(opened, clock.now + 2 * DAY_S)
    assert "new2" in owed(opened, clock.now + 2 * DAY_S)  # nobody has seen it yet
    clock.now += 2 * DAY_S
    assert "new1" not in {name for user in USERS for name in explored(ask(opened, user))[:1]}


def test_items_of_the_old_log_are_not_new_though_nobody_logged_their_impressions(
    fair: Path, clock: Clock
) -> None:
    with closing(Engine.open(fair, clock)) as engine:
        state = engine.state
        chosen = {f"i{number}" for number in range(60) if state.counts[number]}
        assert chosen and not owed(engine, clock.now) & chosen


def test_an_item_that_becomes_available_is_new_from_then_on(fair: Path, clock: Clock) -> None:
    with closing(Engine.open(fair, clock)) as engine:
        engine.add_items([Item("late", "A late tale", available_from=NOW + DAY_S)])
        engine.add_items([Item("early", "An early tale", available_from=NOW - 3 * DAY_S)])
        assert "early" not in owed(engine, clock.now)
        assert "late" not in {item.item_id for user in USERS for item in ask(engine, user).items}
        clock.now += 1.5 * DAY_S
        assert {"late"} <= owed(engine, clock.now)
        assert any("late" in explored(ask(engine, user)) for user in USERS)


def test_a_restart_and_another_engine_know_the_same(
    fair: Path, opened: Engine, clock: Clock
) -> None:
    with closing(Engine.open(fair, clock)) as other:
        for user in USERS[:3]:
            show(opened, user, clock)
        other.catch_up()
        with closing(Engine.open(fair, clock)) as again:
            assert owed(opened, clock.now) == owed(other, clock.now) == owed(again, clock.now)
            np.testing.assert_array_equal(
                np.asarray(opened.state.starts.first_events),
                np.asarray(again.state.starts.first_events),
            )


def test_impressions_before_the_item_count_when_it_comes(fair: Path, clock: Clock) -> None:
    with closing(Engine.open(fair, clock)) as engine:
        engine.add_events([Event("v", "new0", clock.now, "impression") for _ in range(3)])
        engine.catch_up()
        engine.add_items([Item(name, f"The tale of {name}") for name in NEW[:2]])
        engine.catch_up()
        assert owed(engine, clock.now) & set(NEW) == {"new1"}


def test_without_a_promise_no_impression_is_kept(shop: Path, clock: Clock) -> None:
    with closing(Engine.open(shop, clock)) as engine:
        engine.add_items([Item("new0", "A tale")])
        before = engine.state
        for user in USERS[:3]:
            show(engine, user, clock)
        assert engine.state.starts.impressions is before.starts.impressions
        assert engine.state.counts is before.counts


def test_impressions_of_items_that_are_owed_nothing_are_not_kept(
    opened: Engine, clock: Clock
) -> None:
    opened.add_events([Event("v", "i7", clock.now, "impression") for _ in range(50)])
    opened.catch_up()
    state = opened.state
    assert state.starts.impressions[state.catalogue.vocabulary.number("i7")] == 0


def test_a_state_stays_the_same_where_no_event_is_of_an_item_that_is_owed(opened: Engine) -> None:
    numbers = np.arange(opened.state.num_items, dtype=np.int32)
    promised = opened.settings.all_surfaces()["home"].promise
    is_owed = opened.state.find_owed(promised, numbers, NOW)
    assert opened.state.find_all_owed(promised, NOW).tolist() == is_owed.tolist()
    assert not opened.state.find_all_owed(NO_PROMISE, NOW).any()
    others, shown = numbers[~is_owed][:5], np.ones(5, np.bool_)
    times = np.full(5, NOW)
    assert with_starts(opened.state, others, times, shown, promised) is opened.state
    some = with_starts(opened.state, numbers[is_owed][:5], times, shown, promised)
    assert some.find_all_owed(promised, NOW).tolist() == is_owed.tolist()  # once is not enough
    assert np.asarray(some.starts.impressions).sum() > 0


def test_a_promise_needs_the_time_of_the_request(shop: Path) -> None:
    with (shop / "serendip.toml").open("a") as file:
        file.write('\n[surfaces.home]\ncontext = ["user"]\n')
        file.write("exploration = {promised_impressions = 5}\n")
    with pytest.raises(ConfigError, match="context does not name the time"):
        Engine.open(shop)


def test_a_log_that_is_read_at_once_or_piece_by_piece_tells_the_same(
    opened: Engine, clock: Clock
) -> None:
    log, state = opened._store.log, opened.state
    promised = opened.settings.all_surfaces()["home"].promise
    begin, rules = log.mark(), opened.settings.actions
    whole, pieces = (LiveCounts(log, rules, begin.seq, clock, promised) for _ in range(2))
    by_piece, numbers = state, np.arange(state.num_items, dtype=np.int32)
    for user in USERS[:10]:
        show(opened, user, clock)
        by_piece = pieces.follow(by_piece)
    found = [
        one.find_owed(promised, numbers, clock.now).tolist()
        for one in (whole.follow(state), by_piece, opened.state)
    ]
    assert found[0] == found[1] == found[2]
    assert sum(found[0]) < state.find_owed(promised, numbers, clock.now).sum()
