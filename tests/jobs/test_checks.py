import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from serendip.data import Event, Item
from serendip.data.store.store import Store
from serendip.jobs.checks import run_checks

NOW = 1_700_000_000.0
FILMS = [Item(name, f"film {name}") for name in "abc"]


def checked(items, events):
    with tempfile.TemporaryDirectory() as folder:
        with closing(Store.create(Path(folder) / "s.db")) as store:
            store.import_all(items, events)
            results = run_checks(store, now=NOW)
    return {result.name: result for result in results}


def event(user="u", item="a", ago=1000.0, **fields):
    return Event(user, item, NOW - ago, **fields)


def shown(item):
    return event(item=item, action="impression")


def hidden(item, seconds=1.0):
    return Item(item, f"film {item}", available_from=NOW + seconds)


def sound_events():
    people = [(user, item) for user in "uvwxyz" for item in "abc"]
    return [event(u, i, 10.0 * n, value=float(n % 5)) for n, (u, i) in enumerate(people, 1)]


def test_sound_data_passes_every_check():
    results = checked(FILMS, sound_events())
    assert {name: r.status for name, r in results.items() if r.status != "PASS"} == {}
    assert len(results) == 14


BAD = [
    ("catalogue", [], [], "FAIL", 0),
    ("catalogue", FILMS[:1], [event()], "WARN", 1),
    ("users", FILMS, [event()], "WARN", 1),
    ("duplicate item ids", [*FILMS, Item("a", "again")], [], "WARN", 1),
    ("missing titles", [*FILMS, Item("d", " ")], [], "WARN", 1),
    ("duplicate titles", [*FILMS, Item("d", "film a")], [], "WARN", 2),
    ("items never seen", FILMS, [event()], "WARN", 2),
    ("duplicate events", FILMS, [shown("a"), shown("a")], "WARN", 1),
    ("duplicate events", FILMS, [event(), event(), event(), event(value=1.0)], "WARN", 2),
    ("events on unknown items", FILMS, [event(), event(item="z")], "WARN", 1),
    ("events on unknown items", FILMS, [event(item="y"), event(item="z")], "FAIL", 2),
    ("impossible times", FILMS, [event(), Event("u", "a", 0.0), event(ago=-1e6)], "WARN", 2),
    ("same-second events", FILMS, [event(), event(item="b"), event("v")], "WARN", 2),
    ("same-second events", FILMS, [shown("a"), shown("b"), event(), event("v")], "PASS", 0),
    ("same-second events", FILMS, [shown("a"), event(), event(item="b")], "WARN", 2),
    ("share of the top user", FILMS, [event(), event("v"), event("v")], "WARN", 2),
    ("values", FILMS, [event(value=1.0), event(value=2e6)], "WARN", 1),
    ("values", FILMS, [event(value=5.0), event(value=5.0), event()], "WARN", 2),
    ("hidden items", [*FILMS, hidden("d"), hidden("e", -1.0)], [], "WARN", 1),
]


@pytest.mark.parametrize(("name", "items", "events", "status", "count"), BAD)
def test_a_check_counts_what_it_is_named_after(name, items, events, status, count):
    result = checked(items, events)[name]
    assert (result.status, result.count) == (status, count)


def test_every_check_is_seen_failing():
    assert {row[0] for row in BAD} | {"events"} == set(checked(FILMS, sound_events()))


def test_examples_are_ten_at_most_and_say_what_they_are_about():
    result = checked([Item(str(number)) for number in range(30)], [])["missing titles"]
    assert (result.count, result.examples) == (30, tuple(str(number) for number in range(10)))
    result = checked(FILMS, [event(), Event("u", "a", 5.0)])["impossible times"]
    assert result.examples == ("user u, item a, time 5",)
    items = [*FILMS, hidden("d", 86_400.0), hidden("e", 9 * 86_400.0)]
    stored = checked(items, sound_events())["hidden items"]
    assert stored.examples == ("e until 2023-11-23", "d until 2023-11-15")


def test_the_store_remembers_the_duplicates_of_its_files(tmp_path):
    with closing(Store.create(tmp_path / "s.db")) as store:
        store.import_all([*FILMS, Item("b", "again")], sound_events())
        for _ in range(2):
            results = {result.name: result for result in run_checks(store, now=NOW)}
            found = results["duplicate item ids"]
            assert (found.status, found.count, found.examples) == ("WARN", 1, ("b",))
            assert results["events"].count == 18
