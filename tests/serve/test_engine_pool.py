"""Reads wait for no write; writes wait in a short line, and are refused rather than kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.data.store.database import Database
from serendip.engine.engine import Engine
from serendip.errors import ArtefactError, BusyError, SerendipError, StorageError
from serendip.serve.engine_holder import READERS, EngineHolder, EnginePool

READS = ["/v1/search?q=horror+tale&user_id=u1", "/v1/recommend?surface=home&user_id=u1"]
READS += [
    "/v1/items/i1/similar?user_id=u1",
    "/v1/suggest?q=ho&user_id=u1",
    "/v1/suggest?user_id=u1",
]
READS += ["/v1/explain?item_id=i1&surface=home&user_id=u1", "/v1/items/i1", "/v1/users"]
READS += ["/v1/users/u1/history", "/", "/?user=u1", "/search?q=horror", "/items/i1?user=u1"]
READS += ["/why?item_id=i1&user=u1", "/health/live", "/health/ready", "/metrics"]

EVENT = {"user_id": "waits", "item_id": "i1", "action": "like"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The database of a workspace, held by somebody else who writes."""
    with closing(Database(folder / "serendip.db")) as other, other.write():
        yield


@contextmanager
def waiting_for_the_lock() -> Iterator[threading.Event]:
    """Set as soon as a write waits for the lock."""
    waits = threading.Event()

    def executes(connection, cursor, statement, *_) -> None:
        if statement == "BEGIN IMMEDIATE":
            waits.set()

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", executes)
    try:
        yield waits
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", executes)


def test_every_read_is_answered_while_every_kind_of_write_waits_for_the_lock(shop, monkeypatch):
    monkeypatch.setattr("serendip.engine.engine.BUSY_TIMEOUT_S", 60.0)
    writes = [("POST", "/v1/items", {"json": {"item_id": "new", "title": "New"}})]
    writes += [("DELETE", "/v1/items/i2", {}), ("POST", "/like", {"data": {"item_id": "i1"}})]
    writes += [("POST", "/v1/events", {"json": EVENT})] * READERS
    with closing(Engine.open(shop)) as engine, ThreadPoolExecutor(len(writes)) as pool:
        client = WireClient(engine)
        with locked(shop), waiting_for_the_lock() as waits:
            posted = [pool.submit(client.ask, *one[:2], **one[2]) for one in writes]
            assert waits.wait(timeout=30)
            assert {path: client.get(path).status_code for path in READS} == dict.fromkeys(
                READS, 200
            )
            assert not any(one.done() for one in posted)
        assert [one.result().status_code for one in posted] == [200, 200, 303, *[200] * READERS]


def test_a_write_that_waits_too_long_is_refused_and_not_stored(shop, monkeypatch):
    monkeypatch.setattr("serendip.engine.engine.BUSY_TIMEOUT_S", 0.01)
    with closing(Engine.open(shop)) as engine:
        client = WireClient(engine)
        with locked(shop):
            refused = [
                client.post("/v1/events", json=EVENT),
                client.post("/v1/items", json={"item_id": "new"}),
                client.ask("DELETE", "/v1/items/i2"),
            ]
            page = client.post("/like", data={"user": "waits", "item_id": "i1"})
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            error = error_of(answer)
            assert (error["type"], error["hint"]) == ("busy", "Try again in a moment.")
        assert (page.status_code, page.headers["retry-after"]) == (503, "1")
        assert not any(str(shop) in answer.text for answer in (*refused, page))
        assert engine.history("waits") == []
        assert [client.get(f"/v1/items/{name}").status_code for name in ("new", "i2")] == [404, 200]
        assert client.post("/v1/events", json=EVENT).json() == {"received": 1, "new": 1}


class Held(TinyEngine):
    """Its events wait until they are let go, and fail where they are told to."""

    def __init__(self, failure: SerendipError | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.began, self.go = threading.Event(), threading.Event()

    def add_events(self, events) -> int:
        self.began.set()
        assert self.go.wait(timeout=30)
        if self.failure is not None:
            raise self.failure
        return super().add_events(events)


def one_more(engine: Engine) -> int:
    return engine.add_events([])


async def in_line(engine: Held, workers: EnginePool, waiting: int) -> list[asyncio.Task[int]]:
    """Writes of which the first is under way and the others wait."""
    first = asyncio.create_task(workers.write(one_more))
    await asyncio.to_thread(engine.began.wait, 30)
    others = [asyncio.create_task(workers.write(one_more)) for _ in range(waiting)]
    await workers.read(lambda engine: None)  # all of them are in line when this is answered
    return [first, *others]


def workers_of(engine: TinyEngine, waiting_writes: int) -> EnginePool:
    holder = EngineHolder()
    holder.swap(engine)
    return EnginePool(holder, waiting_writes)


def test_one_write_too_many_is_refused_and_those_in_line_are_done():
    engine = Held()
    workers = workers_of(engine, waiting_writes=2)

    async def scene() -> list[int]:
        tasks = await in_line(engine, workers, waiting=2)
        with pytest.raises(BusyError, match="2 writes are waiting"):
            await workers.write(one_more)
        engine.go.set()
        done = await asyncio.gather(*tasks)
        return [*done, await workers.write(one_more)]

    assert asyncio.run(scene()) == [0, 0, 0, 0]


def test_whoever_waits_behind_a_write_that_found_the_database_locked_is_refused_with_it():
    engine = Held(BusyError("others write."))
    workers = workers_of(engine, waiting_writes=8)
    calls: list[str] = []

    async def scene() -> list[object]:
        first, *_ = await in_line(engine, workers, waiting=0)
        line = [asyncio.create_task(workers.write(lambda _: calls.append("line"))) for _ in "abc"]
        await workers.read(lambda engine: None)
        engine.go.set()
        found = await asyncio.gather(first, *line, return_exceptions=True)
        await workers.write(lambda _: calls.append("later"))
        return found

    assert [type(one) for one in asyncio.run(scene())] == [BusyError] * 4
    assert calls == ["later"]


def test_ready_and_metrics_are_answered_while_all_threads_are_taken():
    class Stuck(Held):
        def recommend(self, request):
            taken.release()
            assert self.go.wait(timeout=30)
            return super().recommend(request)

    taken, engine = threading.Semaphore(0), Stuck()
    client = WireClient(engine)
    with ThreadPoolExecutor(READERS + 1) as pool:
        asked = [pool.submit(client.get, "/v1/search?q=film") for _ in range(READERS)]
        asked.append(pool.submit(client.post, "/v1/events", json=EVENT))
        for _ in range(READERS):
            assert taken.acquire(timeout=30)
        assert engine.began.wait(timeout=30)
        try:
            assert client.get("/health/live").json() == {"status": "live"}
            assert client.get("/health/ready").json()["generation"] == "gen-1"
            assert 'serendip_engine{name="items"} 60.0' in client.get("/metrics").text
            assert not any(one.done() for one in asked)
        finally:
            engine.go.set()
        assert [one.result().status_code for one in asked] == [200] * (READERS + 1)


def test_while_it_is_loading_the_answer_says_when_to_try_again():
    client = WireClient()
    client.holder.close()
    for path in ("/health/ready", "/v1/search?q=film", "/"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert error_of(client.get("/health/ready"))["type"] == "not_trained"
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (StorageError("database /home/me/s.db: disk is full.", "Free /home."), "the database"),
        (ArtefactError("/home/me/generations/gen-1 is altered.", "Look."), "a stored artefact"),
    ],
)
def test_what_names_files_of_the_operator_is_in_the_log_and_not_in_the_answer(
    failure, told, caplog
):
    engine = Held(failure)
    engine.go.set()
    client = WireClient(engine)
    answer = client.post("/v1/events", json=EVENT)
    page = client.post("/like", data={"user": "u", "item_id": "f1"})
    assert [one.status_code for one in (answer, page)] == [503, 503]
    assert "retry-after" not in answer.headers
    assert error_of(answer)["message"].startswith(told)
    assert "/home" not in answer.text + page.text
    assert [str(failure) in record.getMessage() for record in caplog.records] == [True, True]
    assert error_of(answer)["request_id"] in caplog.records[0].getMessage()
