import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from small_shop import add_settings
from stand import NEW, publish_with

from serendip.data import Event, Item
from serendip.engine.artefacts.generations import open_current, rollback
from serendip.engine.artefacts.training_record import REFUSED, TrainingRecord
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.train.staleness import GenerationAge, measure_age

HOUR = 3_600.0


def age_of(shop: Path, now: float | None = None) -> GenerationAge:
    return measure_age(Workspace.open(shop), now)


def put_events(shop: Path, items: Sequence[str], action: str = "click") -> None:
    with Workspace.open(shop).open_store() as store:
        store.put_events(
            Event(f"v{row % 7}", item, 1.7e9 + row, action) for row, item in enumerate(items)
        )


def put_items(shop: Path, *items: Item) -> None:
    with Workspace.open(shop).open_store() as store:
        store.put_items(items)


def test_a_new_generation_is_not_and_years_change_nothing_while_nothing_is_new(
    fresh: Path, stand: Path
) -> None:
    age = age_of(fresh)
    assert (age.generation, age.reasons) == ("", ("no generation is published",))
    assert age.is_due(0.0)

    age = age_of(stand)
    assert (age.generation, age.events, age.items.total) == ("gen-1", 0, 0)
    assert not age.is_stale
    old = age_of(stand, age_of(stand).age_s + 2e9)
    assert old.age_s > 2e8
    assert not old.is_stale


def test_events_count_from_its_place_in_the_log_and_impressions_do_not(stand: Path) -> None:
    trained = open_current(stand / "generations").manifest["counts"]["events"]
    tenth = -(-trained // 10)
    put_events(stand, ["i1"] * (tenth - 1))
    put_events(stand, ["i1"] * 500, "impression")
    assert (age_of(stand).events, age_of(stand).is_stale) == (tenth - 1, False)
    put_events(stand, ["i2"], "purchase")
    age = age_of(stand)
    assert age.events == tenth
    assert age.reasons == (f"{tenth} new events, 10% of those it learned from",)


def test_age_counts_once_anything_is_new(stand: Path) -> None:
    put_events(stand, ["i1"])
    created = open_current(stand / "generations").manifest["created"]
    now = datetime.fromisoformat(created).timestamp() + 23 * HOUR
    assert not age_of(stand, now).is_stale
    assert age_of(stand, now + HOUR).reasons == ("it is 1 day old",)
    add_settings(stand, "[train.stale]\nmax_age = '2d'")
    assert not age_of(stand, now + HOUR).is_stale


def test_items_are_counted_by_what_happened_to_them(stand: Path) -> None:
    put_items(stand, NEW, Item("i1", "Another title"), Item("gone", "Soon gone"))
    with Workspace.open(stand).open_store() as store:
        for name in ("gone", "i2", "i3"):
            assert store.delete_item(name)
    items = age_of(stand).items
    assert (items.new, items.changed, items.deleted) == (1, 1, 2)
    assert not age_of(stand).is_stale
    put_items(stand, *(Item(f"n{number}", f"Tale {number}") for number in range(5)))
    assert age_of(stand).reasons == ("6 new items, 10% of those it learned from",)


def test_settings_that_are_learned_make_it_stale(stand: Path) -> None:
    add_settings(stand, "[gate]\nmargin = 0.1\n[train.stale]\nnew_share = 0.5\n")
    assert not age_of(stand).is_stale
    path = stand / "serendip.toml"
    path.write_text(path.read_text().replace("max_len = 10", "max_len = 9"))
    age = age_of(stand)
    assert age.reasons == ("the setting models.retriever.max_len has changed",)
    path.write_text(path.read_text().replace("max_len = 9", "max_len = 10"))
    add_settings(stand, "[surfaces.home]\npopularity_discount = 0.1\n")
    assert age_of(stand).is_stale  # the ranker learns from what surfaces show


def test_an_import_makes_it_stale(stand: Path) -> None:
    import_files(Workspace.open(stand))
    age = age_of(stand)
    assert age.events is None
    assert age.reasons == ("events were imported again or erased",)


def test_after_a_rollback_it_is_the_newest_training_that_counts(stand: Path) -> None:
    put_events(stand, ["i1"] * 100)
    assert age_of(stand).is_stale
    with Workspace.open(stand).open_store() as store:
        publish_with(stand, event_seq=store.log.position().seq)
    rollback(stand / "generations")
    assert open_current(stand / "generations").name == "gen-1"
    assert (age_of(stand).generation, age_of(stand).is_stale) == ("gen-2", False)


def test_a_generation_that_never_came_into_force_does_not_count(stand: Path) -> None:
    put_events(stand, ["i1"] * 100)
    pointer = stand / "generations" / "CURRENT"
    before, at = pointer.read_text(), pointer.stat().st_mtime - 5
    with Workspace.open(stand).open_store() as store:
        publish_with(stand, event_seq=store.log.position().seq)
    pointer.write_text(before)  # as if the training had been killed before it was set
    os.utime(pointer, (at, at))
    assert (age_of(stand).generation, age_of(stand).is_stale) == ("gen-1", True)
    pointer.unlink()
    assert age_of(stand).reasons == ("no generation is published",)


def test_after_a_refusal_the_next_try_waits_twice_as_long_each_time(stand: Path) -> None:
    workspace = Workspace.open(stand)
    put_events(stand, ["i1"] * 100)
    assert age_of(stand).is_due(0.0)
    for failures, hours in ((1, 1), (2, 2), (3, 4)):
        record = TrainingRecord(REFUSED, message="fails", ended=1000.0).write(workspace.training)
        assert record.failures == failures
        age = age_of(stand)
        assert age.is_stale
        assert not age.is_due(1000.0 + hours * HOUR - 1)
        assert age.is_due(1000.0 + hours * HOUR)
