from contextlib import closing
from pathlib import Path

import numpy as np
from postgres_server import on_both_databases

from serendip.data import Event, Item, Query
from serendip.engine.engine import Engine
from serendip.engine.live.state import FOLLOW_S, LiveCounts
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.models.popularity import Popularity, PopularityConfig

START = 1_700_000_000.0


def events(item: str, count: int, action: str = "rate", value: float | None = 5.0) -> list[Event]:
    return [
        Event(f"visitor{number}", item, START + number, action, value) for number in range(count)
    ]


def count_of(engine: Engine, item: str) -> int:
    state = engine.state
    return int(state.counts[state.catalogue.vocabulary.number(item)])


@on_both_databases
def test_a_restart_and_another_engine_count_the_same(shop: Path) -> None:
    with closing(Engine.open(shop)) as first, closing(Engine.open(shop)) as second:
        first.add_items([Item("new", "A new tale", attributes={"genre": "horror"})])
        first.add_events([*events("i3", 5), *events("new", 2)])
        first.catch_up()
        second.catch_up()
        with closing(Engine.open(shop)) as again:
            for engine in (second, again):
                np.testing.assert_array_equal(engine.state.counts, first.state.counts)
                for name in ("popularity", "popularity-recent"):
                    scores = [
                        one.state.models[name].score_all([Query()]) for one in (first, engine)
                    ]
                    np.testing.assert_array_equal(*scores)
        assert count_of(first, "new") == 2


def test_items_of_another_engine_are_followed_once_they_are_committed(shop: Path) -> None:
    with closing(Engine.open(shop)) as first, closing(Engine.open(shop)) as second:
        second.read_items()
        first.add_items([Item("new", "A new tale", attributes={"genre": "horror"})])
        second.read_items()
        assert second.item("new") is not None
        state = second.state
        second.read_items()
        assert second.state is state
        first.delete_item("new")
        first.delete_item("i3")
        second.read_items()
        assert (second.item("new"), second.item("i3")) == (None, None)
        assert second.item_version == first.item_version


def test_events_without_an_item_take_no_place_of_those_of_an_item_that_is_posted_later(
    shop: Path,
) -> None:
    with closing(Engine.open(shop)) as engine:
        engine.add_events(events("soon", 2))
        chip = Event("visitor0", "", START, "impression", query="tale", surface="suggest")
        engine.add_events([chip] * 10_000)
        engine.catch_up()
        engine.add_items([Item("soon", "A new tale", attributes={"genre": "horror"})])
        engine.add_events(events("i3", 1))
        engine.catch_up()
        assert count_of(engine, "soon") == 2


def test_live_counts_are_those_of_a_training_on_the_whole_log(shop: Path) -> None:
    with closing(Engine.open(shop)) as engine:
        for item in ("i1", "i2", "i1"):
            engine.add_events(events(item, 3))
            engine.catch_up()
        state = engine.state
    dataset = JobContext.open(shop).dataset
    np.testing.assert_array_equal(state.counts, dataset.item_counts())
    for name, config in (
        ("popularity", PopularityConfig()),
        ("popularity-recent", PopularityConfig(window_days=7.0)),
    ):
        trained = Popularity(config).train(dataset).score_all([Query()])
        np.testing.assert_allclose(state.models[name].score_all([Query()]), trained, rtol=1e-6)


def test_the_log_is_read_at_most_every_half_second(engine: Engine) -> None:
    now = [100.0]
    counts = LiveCounts(engine._store.log, engine.settings.actions, 0, lambda: now[0])
    assert counts.is_due
    counts.count_new_events(engine.state)
    now[0] += FOLLOW_S / 2
    assert not counts.is_due
    now[0] += FOLLOW_S
    assert counts.is_due
    counts.count_new_events(engine.state)
    now[0] -= 3_600.0  # set back
    assert counts.is_due


def test_requests_of_an_engine_whose_clock_stands_still_count_nothing(shop: Path) -> None:
    with closing(Engine.open(shop, lambda: START)) as engine:
        before = count_of(engine, "i7")
        engine.add_events(events("i7", 3))
        assert count_of(engine, "i7") == before
        engine.catch_up()
        assert count_of(engine, "i7") == before + 3


def test_a_log_that_an_import_replaced_is_not_counted_again(shop: Path) -> None:
    with closing(Engine.open(shop)) as engine:
        before = np.array(engine.state.counts)
        import_files(Workspace.open(shop))
        engine.catch_up()
        np.testing.assert_array_equal(engine.state.counts, before)
        engine.add_events(events("i5", 2))
        import_files(Workspace.open(shop))
        engine.catch_up()
        assert engine.state.counts.sum() == before.sum() + 2
    with closing(Engine.open(shop)) as again:
        assert again.state.counts.sum() == before.sum() + 2
        again.add_events(events("i5", 2))
        again.catch_up()
        assert again.state.counts.sum() == before.sum() + 4


@on_both_databases
def test_an_erasure_takes_away_what_the_person_did_and_nothing_else(shop: Path) -> None:
    popular = ("popularity", "popularity-recent")
    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item("new", "A new tale", attributes={"genre": "horror"})])
        before = np.array(engine.state.counts)
        engine.add_events([*events("i3", 5), *events("new", 3), *events("i4", 1)])
        engine.catch_up()
        with closing(Workspace.open(shop).open_store()) as store:
            store.pack()
        engine.erase_user("visitor2")  # one of i3, one of new
        engine.add_events([Event("visitor9", "i4", START, "rate", 5.0)])
        engine.catch_up()
        wanted = before.copy()
        for item, count in (("i3", 4), ("new", 2), ("i4", 2)):
            wanted[engine.state.catalogue.vocabulary.number(item)] += count
        with closing(Engine.open(shop)) as again:
            for one in (engine, again):
                np.testing.assert_array_equal(one.state.counts, wanted)
            for name in popular:
                scores = [one.state.models[name].score_all([Query()]) for one in (engine, again)]
                np.testing.assert_array_equal(*scores)
