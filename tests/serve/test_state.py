"""Swapping the engine under running requests, and following the published pointer."""

from __future__ import annotations

import threading

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.errors import ArtefactError, NotTrainedError
from serendip.serve.state import EngineHolder


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


def test_a_new_generation_is_followed_and_a_broken_one_is_not():
    published = ["gen-1"]
    asked = threading.Semaphore(0)
    opened: list[str] = []

    def current() -> str:
        asked.release()
        return published[0]

    def open_engine() -> TinyEngine:
        opened.append(published[0])
        if published[0] == "gen-2":
            raise ArtefactError("gen-2 is damaged.")
        return TinyEngine(generation=published[0])

    holder = EngineHolder()
    holder.swap(open_engine())
    holder.watch(current, open_engine, every_s=0.001)
    for name, expected in (("gen-2", "gen-1"), ("gen-3", "gen-3")):
        published[0] = name
        for _ in range(20):
            assert asked.acquire(timeout=5)
        assert holder.generation == expected
    holder.close()
    assert opened == ["gen-1", "gen-2", "gen-3"]
    assert holder.failed_loads == 1


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


def test_closing_ends_the_watch_and_the_engine():
    engine, holder = TinyEngine(), EngineHolder()
    holder.swap(engine)
    holder.watch(lambda: "gen-1", TinyEngine, every_s=0.001)
    holder.close()
    assert engine.is_closed
    assert not holder.is_ready
