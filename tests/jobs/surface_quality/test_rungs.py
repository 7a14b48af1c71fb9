"""The rungs of a report are what the service answers when its engine fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serendip.data.arrays import IntArray, first_rows
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages import popular
from serendip.jobs.surface_quality import rungs
from serendip.jobs.surface_quality.rungs import (
    CONTENT_RUNG,
    NEWEST_RUNG,
    POPULAR_RUNG,
    rank_rungs,
)

REQUESTS = (
    Request("home", "u1"),
    Request("home", "nobody"),
    Request("similar", "u1", item_ids=("i1",)),
    Request("cart", "u2", item_ids=("i4", "i7")),
    Request("search", "u1", text="horor tale number 7"),
)


@pytest.fixture(scope="module")
def engine(trained_folder: Path) -> Iterator[Engine]:
    with closing(Engine.open(trained_folder)) as opened:
        yield opened


def rank(engine: Engine, request: Request, length: int = 10) -> dict[str, list[str]]:
    """Ids of each rung for a request, as it is read when all is well."""
    query = engine._query_builder.build(engine.state, request)
    surface = engine.settings.all_surfaces()[request.surface]
    lists = rank_rungs([query], surface, engine.state, length)
    return {name: ids_of(engine, row[0]) for name, row in lists.items()}


def ids_of(engine: Engine, items: IntArray) -> list[str]:
    return engine.item_ids(items[items >= 0])


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: f"{one.surface} {one.user_id}")
def test_the_content_rung_is_what_the_service_answers(engine, request_):
    ranked = rank(engine, request_)  # reads the past of the user, as a request that was answered
    served = [item.item_id for item in engine.fall_back(request_).items]
    assert ranked[CONTENT_RUNG] == served
    assert len(served) == 10


def test_many_requests_are_answered_as_each_of_them(engine, monkeypatch):
    monkeypatch.setattr(rungs, "BATCH", 7)  # several batches
    for surface, items in (("home", ()), ("similar", ("i3",)), ("digest", ())):
        users = ["nobody", *(f"u{number}" for number in range(20))]
        requests = [Request(surface, user, item_ids=items) for user in users]
        config = engine.settings.all_surfaces()[surface]
        ranked = rank_rungs(engine.queries(requests), config, engine.state)
        for row, request in enumerate(requests):
            alone = rank(engine, request)
            for name, lists in ranked.items():
                assert ids_of(engine, lists[row]) == alone[name]


def test_the_orders_of_the_popular_and_the_newest_rung_are_made_once(engine, monkeypatch):
    sorts = list[int]()

    def count(most: int, *keys: Any) -> Any:
        sorts.append(most)
        return first_rows(most, *keys)

    monkeypatch.setattr(popular, "first_rows", count)
    queries = engine.queries([Request("home", f"u{number}") for number in range(20)])
    rank_rungs(queries, engine.settings.all_surfaces()["home"], engine.state)
    assert len(sorts) == 2


def test_the_popular_rung_is_what_the_service_answers_where_content_has_nothing(engine):
    ranked = rank(engine, Request("home", "nobody"))
    answer = engine.fall_back(Request("home", "nobody"))
    assert answer.degraded == ("personal", "content-only")
    assert ranked[POPULAR_RUNG] == [item.item_id for item in answer.items]
    assert ranked[POPULAR_RUNG] != rank(engine, Request("home", "u1"))[CONTENT_RUNG]


def test_items_that_are_due_again_are_on_no_rung_as_no_store_is_asked_for_them(engine):
    query = engine._query_builder.build(engine.state, Request("home", "u1"))
    due = replace(query, again=np.unique(query.history.item_nums))
    assert len(due.again) > 0
    home = engine.settings.all_surfaces()["home"]
    for lists in rank_rungs([due], home, engine.state).values():
        assert not np.isin(lists, due.again).any()


def test_the_newest_rung_is_by_time_alone(engine):
    times = np.arange(engine.state.num_items) % 7
    items = zip(engine.state.catalogue.items, times.tolist(), strict=True)
    catalogue = Catalogue([replace(item, available_from=time) for item, time in items])
    home, state = engine.settings.all_surfaces()["home"], replace(engine.state, catalogue=catalogue)
    newest = rank_rungs([Query(time=100.0)], home, state)[NEWEST_RUNG][0]
    assert (times[newest] == np.sort(times)[::-1][:10]).all()


def test_a_search_has_the_content_rung_alone_and_a_message_its_own_length(engine):
    assert list(rank(engine, REQUESTS[-1])) == [CONTENT_RUNG]
    assert {len(items) for items in rank(engine, REQUESTS[0], length=3).values()} == {3}
