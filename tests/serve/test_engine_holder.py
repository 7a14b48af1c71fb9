"""Swapping the engine under running requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from tiny_engine import TinyEngine, TinyStore, film
from wire_client import WireClient

from serendip.data import Item
from serendip.errors import StorageError
from serendip.serve.engine_holder import EngineHolder, Follower, PublishedGenerations
from serendip.serve.gate import EngineGate


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


def write(pool: EngineGate, *calls: Callable[[TinyEngine], object]) -> None:
    """Acknowledged writes through the current engine."""
    for call in calls:
        asyncio.run(pool.write(call))  # type: ignore[arg-type]


def read_items(pool: EngineGate, *item_ids: str) -> list[Item | None]:
    """What a request answers about items."""
    return asyncio.run(pool.read(lambda engine: [engine.item(item_id) for item_id in item_ids]))


def delete_1(engine: TinyEngine) -> object:
    return engine.delete_item("f1")


def add_99(engine: TinyEngine) -> object:
    return engine.add_items([film(99)])


class Counting(TinyEngine):
    """Counts its readings of the store."""

    readings = 0

    def catch_up(self) -> None:
        self.readings += 1
        super().catch_up()


def test_writes_through_a_replaced_engine_are_in_the_next_answer_of_the_current_one():
    store: TinyStore = []
    old, new = TinyEngine(store=store), TinyEngine(generation="gen-2", store=store)
    holder = EngineHolder()
    pool = EngineGate(holder)
    holder.swap(old)

    def swap_and_write(engine: TinyEngine) -> None:
        holder.swap(new)
        assert engine is old
        assert not old.is_closed
        delete_1(engine)
        add_99(engine)

    write(pool, swap_and_write)
    assert old.is_closed
    assert read_items(pool, "f1", "f99") == [None, film(99)]
    assert new.item("f99") == film(99)


def test_an_engine_reads_the_store_before_an_answer_only_if_a_write_is_missing():
    store: TinyStore = []
    holder = EngineHolder()
    pool = EngineGate(holder)
    engine = Counting(store=store)
    holder.swap(engine)
    at_first = engine.readings
    write(pool, add_99)
    assert read_items(pool, "f99") == [film(99)]
    assert engine.readings == at_first
    other = TinyEngine(store=store)
    other.delete_item("f1")
    assert read_items(pool, "f1") == [film(1)]  # nobody has acknowledged it
    holder.shared.acknowledge(other.item_version)
    assert read_items(pool, "f1") == read_items(pool, "f1") == [None]
    assert engine.readings == at_first + 1


def test_a_store_that_cannot_be_read_fails_no_read_and_is_read_later(caplog):
    store: TinyStore = []
    looks = threading.Semaphore(0)

    class Reading(TinyEngine):
        is_broken = False

        def catch_up(self) -> None:
            if self.is_broken:
                raise StorageError("the store is busy.")
            super().catch_up()

        def follow_items(self) -> None:
            looks.release()
            self.catch_up()

    engine, holder = Reading(store=store), EngineHolder()
    pool = EngineGate(holder)
    holder.swap(engine)
    engine.is_broken = True
    other = TinyEngine(store=store)
    other.delete_item("f1")
    holder.shared.acknowledge(other.item_version)
    assert read_items(pool, "f1") == read_items(pool, "f1") == [film(1)]
    follower = Follower(holder, PublishedGenerations(lambda: engine))
    follower.watch(every_s=0.001)
    for _ in range(20):
        assert looks.acquire(timeout=10)
    follower.close()
    told = [record.message for record in caplog.records if "read" in record.message]
    assert sum("store-watch" in message for message in told) == 1
    engine.is_broken = False
    holder.follow(Reading.catch_up)  # type: ignore[arg-type]
    assert read_items(pool, "f1") == [None]


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


def test_a_storage_problem_is_read_from_memory_and_logged_once(caplog):
    problems = ["", "database s.db was deleted.", "database s.db was deleted.", ""]

    class Losing(TinyEngine):
        def storage_problem(self) -> str:
            return problems.pop(0)

    holder = EngineHolder()
    caplog.set_level("ERROR")
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


def test_an_idle_engine_closes_at_the_swap():
    old, holder = TinyEngine(), EngineHolder()
    holder.swap(old)
    holder.swap(TinyEngine())
    assert old.is_closed
