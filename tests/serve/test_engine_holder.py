"""Swapping the engine under running requests."""

from __future__ import annotations

import threading

import pytest
from tiny_engine import TinyEngine, TinyStore, film
from wire_client import WireClient

from serendip.errors import NotTrainedError, StorageError
from serendip.serve.engine_holder import EngineHolder


def test_nothing_can_be_leased_before_an_engine_is_there():
    holder = EngineHolder()
    assert not holder.is_ready
    with pytest.raises(NotTrainedError), holder.lease():
        pass


def test_a_request_keeps_its_engine_and_the_old_one_closes_after_it():
    old, new = TinyEngine(generation="gen-1"), TinyEngine(generation="gen-2")
    holder = EngineHolder()
    holder.swap(old)
    with holder.lease() as first, holder.lease() as second:
        holder.swap(new)
        assert first is second is old
        assert holder.generation == "gen-2"
        assert not old.is_closed
        with holder.lease() as third:
            assert third is new
    assert old.is_closed
    assert not new.is_closed


def test_an_idle_engine_closes_at_the_swap():
    old, holder = TinyEngine(), EngineHolder()
    holder.swap(old)
    holder.swap(TinyEngine())
    assert old.is_closed


def test_writes_during_the_opening_of_a_generation_reach_it():
    store: TinyStore = []
    holder = EngineHolder()
    holder.swap(TinyEngine(store=store))
    opened = TinyEngine(generation="gen-2", store=store)
    with holder.lease() as old:
        old.delete_item("f1")
        old.add_items([film(99)])
    holder.swap(opened)
    with holder.lease() as new:
        assert new is opened
        assert new.item("f1") is None
        assert new.item("f99") == film(99)


def test_writes_through_a_replaced_engine_reach_the_current_one_when_the_request_ends():
    store: TinyStore = []
    old = TinyEngine(store=store)
    holder = EngineHolder()
    holder.swap(old)
    with holder.lease():
        with holder.lease() as leased:
            holder.swap(TinyEngine(generation="gen-2", store=store))
            assert leased is old
            leased.delete_item("f1")
            leased.add_items([film(99)])
        assert not old.is_closed
        with holder.lease() as new:
            assert new.item("f1") is None
            assert new.item("f99") == film(99)
    assert old.is_closed


def test_the_current_engine_catches_up_before_the_replaced_one_is_closed():
    seen: list[bool] = []
    old = TinyEngine()

    class Watching(TinyEngine):
        def catch_up(self) -> None:
            seen.append(old.is_closed)

    holder = EngineHolder()
    holder.swap(old)
    with holder.lease():
        holder.swap(Watching(generation="gen-2"))
        seen.clear()
    assert seen == [False]
    assert old.is_closed


def test_a_read_does_not_wait_for_the_next_engine_to_catch_up():
    seen: list[str] = []

    class Watching(TinyEngine):
        def catch_up(self) -> None:
            seen.append(self.generation)

    old, holder = TinyEngine(), EngineHolder()
    holder.swap(old)
    with holder.lease(writes=False):
        holder.swap(Watching(generation="gen-2"))
        seen.clear()
    assert seen == []
    assert old.is_closed


def test_a_write_reaches_the_engine_two_generations_later():
    store: TinyStore = []
    holder = EngineHolder()
    holder.swap(TinyEngine(store=store))
    middle = TinyEngine(generation="gen-2", store=store)
    with holder.lease() as oldest:
        holder.swap(middle)
        holder.swap(TinyEngine(generation="gen-3", store=store))
        assert middle.is_closed
        oldest.delete_item("f1")
    with holder.lease() as newest:
        assert newest.item("f1") is None


def test_a_store_that_cannot_be_read_at_the_swap_is_read_later():
    broken, caught_up = threading.Event(), threading.Event()

    class Reading(TinyEngine):
        def catch_up(self) -> None:
            if broken.is_set():
                broken.clear()
                raise StorageError("the store is busy.")
            caught_up.set()

    old, new = TinyEngine(), Reading(generation="gen-2")
    holder = EngineHolder()
    holder.swap(old)
    caught_up.clear()
    broken.set()
    holder.swap(new)
    assert holder.generation == "gen-2"
    assert old.is_closed
    assert not caught_up.is_set()
    holder.catch_up_if_behind()
    assert caught_up.is_set()
    caught_up.clear()
    holder.catch_up_if_behind()
    assert not caught_up.is_set()


def test_no_answer_mixes_two_generations_while_engines_are_swapped():
    client = WireClient()
    stop = threading.Event()

    def swap() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            client.holder.swap(TinyEngine(generation=f"gen-{number}"))

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(100):
            response = client.get("/v1/search", params={"q": "film"})
            assert response.status_code == 200
            assert response.headers["x-generation"] == response.json()["generation"]
    finally:
        stop.set()
        swapper.join()


def test_closing_ends_the_engine():
    engine, holder = TinyEngine(), EngineHolder()
    holder.swap(engine)
    holder.close()
    assert engine.is_closed
    assert not holder.is_ready


def test_a_storage_problem_is_read_from_memory_and_logged_once(caplog):
    problems = ["", "database s.db was deleted.", "database s.db was deleted.", ""]

    class Losing(TinyEngine):
        def storage_problem(self) -> str:
            return problems.pop(0)

    holder = EngineHolder()
    holder.check_storage()
    holder.swap(Losing())
    seen = []
    for _ in range(4):
        holder.check_storage()
        seen.append((holder.storage_problem, holder.is_degraded))
    lost = ("database s.db was deleted.", True)
    assert seen == [("", False), lost, lost, ("", False)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "s.db was deleted" in caplog.text
