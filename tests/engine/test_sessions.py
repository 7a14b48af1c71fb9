from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.events.event import NO_SESSION, Event, session_code
from serendip.data.query import History, Query, select_relevant_history
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, temporal
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.features import SESSION_S, find_session
from serendip.engine.workspace import Workspace
from serendip.jobs.surface_quality.baskets import read_baskets

NOW = 1_700_000_000.0

VISITS = [
    Event("guest", "i1", NOW - 9_000, session_id="monday"),
    Event("guest", "i2", NOW - 8_000, session_id="tuesday"),
    Event("guest", "i3", NOW - 7_000, session_id="monday"),
    Event("guest", "i4", NOW - 60),
]
"""Two devices at once, and an event of a sender that knows no sessions."""


@pytest.fixture
def opened(shop: Path) -> Iterator[Engine]:
    with closing(Engine.open(shop, lambda: NOW)) as engine:
        engine.add_events(VISITS)
        yield engine


def session(engine: Engine, session_id: str) -> list[str]:
    (query,) = engine.queries([Request("home", "guest", session_id=session_id)])
    found = find_session(query, query.history)
    assert found is not None
    return engine.item_ids(query.history.item_nums[found])


def test_a_session_has_the_events_of_its_id_whatever_their_time(opened: Engine) -> None:
    assert session(opened, "monday") == ["i1", "i3"]
    assert session(opened, "tuesday") == ["i2"]
    assert session(opened, "a new visit") == []
    assert session(opened, "") == ["i4"]  # of the last half hour
    assert session_code("") == NO_SESSION == 0
    assert session_code("monday") == 77_623_100_940_201_584
    assert 0 < session_code("tuesday") < 2**63


def test_it_is_the_same_after_more_events_a_restart_and_a_compaction(
    opened: Engine, shop: Path
) -> None:
    assert session(opened, "monday") == ["i1", "i3"]
    opened.add_events([Event("guest", "i5", NOW - 5, session_id="monday")])
    expected = ["i1", "i3", "i5"]
    assert session(opened, "monday") == expected
    with closing(Workspace.open(shop).open_store()) as store:
        store.pack()
    assert session(opened, "monday") == expected
    with closing(Engine.open(shop, lambda: NOW)) as again:
        assert session(again, "monday") == expected
        again.add_events([Event("guest", "i6", NOW - 7_500, session_id="monday")])
        assert session(again, "monday") == ["i1", "i6", "i3", "i5"]


def test_without_ids_in_the_past_the_last_half_hour_counts(shop: Path) -> None:
    with closing(Engine.open(shop, lambda: NOW)) as engine:
        engine.add_events([replace(event, session_id="") for event in VISITS])
        assert session(engine, "monday") == ["i4"]


def test_a_query_without_a_time_or_an_id_has_no_session() -> None:
    past = History(np.array([1, 2], np.int32), np.array([0.0, 9.0]), np.zeros(2, np.bool_))
    assert find_session(Query(), past) is None
    later = find_session(Query(time=SESSION_S + 5.0), past)
    assert later is not None and later.tolist() == [False, True]
    untold = replace(past, sessions=np.array([NO_SESSION, NO_SESSION]))  # in a log that has some
    later = find_session(Query(time=SESSION_S + 5.0, session=7), untold)
    assert later is not None and later.tolist() == [False, True]
    told = replace(past, sessions=np.array([7, 8]))
    own = find_session(Query(session=7), told)
    assert own is not None and own.tolist() == [True, False]


def test_parts_of_a_history_keep_the_sessions_of_their_events() -> None:
    count = 60
    past = History(
        np.arange(count, dtype=np.int32),
        np.arange(count, dtype=np.float64),
        np.zeros(count, np.bool_),
        sessions=np.arange(count),
    )
    parts = [past.last(3), past.first(3), past.before(3.0), past.without(np.arange(50, 60))]
    codes = np.ones((count, 1), np.int32)
    parts += [past.known(9), select_relevant_history(past, codes, codes[:0])]
    for part in parts:
        assert part.sessions is not None and len(part) < count
        np.testing.assert_array_equal(part.sessions, part.item_nums)


def split_of(shop: Path, events: list[Event]) -> Split:
    """A shop's split whose last part is these events."""
    with closing(Engine.open(shop, lambda: NOW)) as engine:
        engine.add_events(events)
        with closing(Workspace.open(shop).open_store()) as store:
            data = take_snapshot(store, engine.settings.actions)
    return temporal(data, (len(data.events) - len(events)) / len(data.events))


def test_baskets_are_sessions_where_events_have_them_and_times_elsewhere(shop: Path) -> None:
    def visit(item: str, minute: float, session_id: str = "") -> Event:
        return Event("guest", item, NOW + 60 * minute, session_id=session_id)

    split = split_of(
        shop,
        [
            *(visit("i1", 0, "a"), visit("i2", 50, "a")),  # one visit, with a long break
            *(visit("i3", 51, "b"), visit("i4", 52, "b")),  # the next visit, a minute later
            *(visit("i5", 53), visit("i6", 90)),  # without a session: time decides
        ],
    )
    names = split.catalogue.vocabulary
    found = [names.ids_of(basket.items) for _, basket in read_baskets(split, split.targets)]
    assert found == [["i1", "i2"], ["i3", "i4", "i5"], ["i6"]]
