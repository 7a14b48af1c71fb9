"""The propensity of explored items through every way that the store moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.store import Store
from serendip.errors import DataError

DRAWN = Event("u", "a", 1.0, "impression", request_id="r", position=9, propensity=0.25)
PLAIN = Event("u", "b", 2.0)
OTHER = Event("v", "a", 3.0, "click", request_id="s", propensity=1.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.create(tmp_path / "serendip.db")) as store:
        store.put_items([Item("a"), Item("b")])
        yield store


def test_it_survives_a_compaction_that_merges_segments_with_and_without_it(store):
    store.put_events([PLAIN])
    store.pack()
    store.put_events([DRAWN, OTHER])
    before = store.history("u", 9), store.history("v", 9), store.requested(9)
    assert before == ([DRAWN, PLAIN], [OTHER], [DRAWN, OTHER])
    store.pack()
    assert (store.history("u", 9), store.history("v", 9), store.requested(9)) == before


def test_an_erasure_leaves_those_of_others(store):
    store.put_events([DRAWN, PLAIN, OTHER])
    store.pack()
    store.erase_user("u")
    assert store.requested(9) == [OTHER]


def test_a_log_without_any_has_no_column(store):
    store.put_events([PLAIN])
    store.pack()
    (pack,) = store.log.read(lambda view: view.packs)
    assert "propensity" not in dict(pack.fields)


@pytest.mark.parametrize("wrong", [0.0, -0.5, 1.5, float("nan"), float("inf")])
def test_what_is_no_probability_above_0_is_refused_by_name(store, wrong):
    with pytest.raises(DataError, match=f"propensity {wrong!r} is not a probability above 0"):
        store.put_events([Event("u", "a", 1.0, propensity=wrong)])
    assert store.count_events() == 0
