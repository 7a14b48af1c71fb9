"""Reads wait for no write; writes wait in a bounded queue and are refused beyond it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.cli.serve import open_server_options
from serendip.data.store.database import open_database
from serendip.engine.config.serve import ServeConfig
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import (
    ArtefactError,
    BusyError,
    ClientGoneError,
    LateError,
    OverloadError,
    SerendipError,
    StorageError,
    UnknownItemError,
)
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import READERS, SPARE, EngineGate
from serendip.serve.logs import CurrentRequest, current_request
from serendip.serve.page.routes import REPORT_PATH
from serendip.serve.server_options import ServerOptions

READS = ["/v1/search?q=horror+tale&user_id=u1", "/v1/recommend?surface=home&user_id=u1"]
READS += ["/v1/items/i1/similar?user_id=u1", "/v1/suggest?q=ho&user_id=u1"]
READS += ["/v1/suggest?user_id=u1"]
READS += ["/v1/explain?item_id=i1&surface=home&user_id=u1", "/v1/items/i1", "/v1/users"]
READS += ["/v1/users/u1/history", "/", "/?user=u1", "/search?q=horror", "/items/i1?user=u1"]
READS += ["/why?item_id=i1&user=u1", "/health/live", "/health/ready", "/metrics"]

EVENT = {"user_id": "waits", "item_id": "i1", "action": "like"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The database of a workspace, locked by another writer."""
    with closing(open_database(folder / "serendip.db")) as other, other.write():
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
            responses = [
                pool.submit(client.ask, method, path, **options) for method, path, options in writes
            ]
            assert waits.wait(timeout=30)
            assert {path: client.get(path).status_code for path in READS} == dict.fromkeys(
                READS, 200
            )
            assert not any(response.done() for response in responses)
        statuses = [response.result().status_code for response in responses]
        assert statuses == [200, 200, 303, *[200] * READERS]


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
    """``add_events`` blocks until ``go`` is set, then raises ``failure`` if there is one."""

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


def write_nothing(engine: Engine) -> int:
    return engine.add_events([])


async def queue_writes(engine: Held, pool: EngineGate, waiting: int) -> list[asyncio.Task[int]]:
    """Start a write and queue others behind it."""
    first = asyncio.create_task(pool.write(write_nothing))
    await asyncio.to_thread(engine.began.wait, 30)
    others = [asyncio.create_task(pool.write(write_nothing)) for _ in range(waiting)]
    await pool.read(lambda engine: None)  # returns after all of them are queued
    return [first, *others]


def build_pool(engine: TinyEngine, waiting_writes: int = 1, **options: Any) -> EngineGate:
    holder = EngineHolder()
    holder.swap(engine)
    return EngineGate(holder, ServerOptions(config=ServeConfig(**options)), waiting_writes)


def test_a_write_beyond_the_queue_is_refused_and_queued_ones_are_done():
    engine = Held()
    pool = build_pool(engine, waiting_writes=2)

    async def scene() -> list[int]:
        tasks = await queue_writes(engine, pool, waiting=2)
        with pytest.raises(BusyError, match="2 writes are waiting"):
            await pool.write(write_nothing)
        engine.go.set()
        done = await asyncio.gather(*tasks)
        return [*done, await pool.write(write_nothing)]

    assert asyncio.run(scene()) == [0, 0, 0, 0]


def test_writes_queued_behind_one_that_found_the_database_locked_are_refused_too():
    engine = Held(BusyError("others write."))
    pool = build_pool(engine, waiting_writes=8)
    calls: list[str] = []

    async def scene() -> list[object]:
        first, *_ = await queue_writes(engine, pool, waiting=0)
        queued = [asyncio.create_task(pool.write(lambda _: calls.append("queued"))) for _ in "abc"]
        await pool.read(lambda engine: None)
        engine.go.set()
        results = await asyncio.gather(first, *queued, return_exceptions=True)
        await pool.write(lambda _: calls.append("later"))
        return results

    assert [type(result) for result in asyncio.run(scene())] == [BusyError] * 4
    assert calls == ["later"]


def fail(engine: TinyEngine) -> str:
    raise RuntimeError


def be_late(engine: TinyEngine) -> str:
    raise LateError("late")


def test_answers_in_place_of_failed_ones_wait_in_a_bounded_queue():
    go, failed = threading.Event(), threading.Semaphore(0)
    pool = build_pool(TinyEngine(), waiting_requests=3)

    def fail_quickly(engine: TinyEngine) -> str:
        failed.release()
        return fail(engine)

    def wait(engine: TinyEngine) -> str:
        assert go.wait(timeout=30)
        return "from less"

    async def scene() -> tuple[set[asyncio.Task[str]], list[object]]:
        tasks = []
        for _ in range(SPARE + 3 + 1):
            tasks.append(asyncio.create_task(pool.read_or(fail_quickly, [wait])))
            await asyncio.to_thread(failed.acquire)
        done, _ = await asyncio.wait(tasks, timeout=4, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        return done, await asyncio.gather(*tasks, return_exceptions=True)

    done, results = asyncio.run(scene())
    assert {type(task.exception()) for task in done} == {OverloadError}
    refused = [result for result in results if isinstance(result, OverloadError)]
    assert SPARE <= results.count("from less") == len(results) - len(refused) <= SPARE + 3


def test_the_next_fallback_answers_where_one_fails():
    pool = build_pool(TinyEngine())
    assert asyncio.run(pool.read_or(fail, (fail, lambda _: "popular"))) == "popular"
    with pytest.raises(LateError, match="late"):
        asyncio.run(pool.read_or(fail, (fail, be_late)))


def test_an_error_that_a_client_can_mend_is_told_and_no_fallback_tried():
    def refuse(engine: TinyEngine) -> str:
        raise UnknownItemError("item 'x' is not in the catalogue.")

    pool, tried = build_pool(TinyEngine()), list[TinyEngine]()
    for call, first in ((refuse, fail), (fail, refuse)):
        with pytest.raises(UnknownItemError):
            asyncio.run(pool.read_or(call, (first, tried.append)))
    assert tried == []


def test_after_a_fallback_that_hangs_the_next_one_is_tried():
    go, pool = threading.Event(), build_pool(TinyEngine(), deadline="2s")
    try:
        answer = pool.read_or(fail, (lambda _: str(go.wait(30)), lambda _: "popular"))
        assert asyncio.run(answer) == "popular"
    finally:
        go.set()


def test_reads_that_wait_for_other_processes_are_computed_at_once():
    all_run = threading.Barrier(READERS)

    class Waiting(TinyEngine):
        def recommend(self, request):
            all_run.wait(10)
            return super().recommend(request)

    client = WireClient(Waiting(), options=ServerOptions(waits_for_others=True))

    async def scene():
        asked = (client.ask_async("GET", "/v1/search?q=film") for _ in range(READERS))
        return await asyncio.gather(*asked)

    answers = asyncio.run(scene())
    assert not any(answer.json()["degraded"] for answer in answers)


@pytest.mark.parametrize("url", ["", "postgresql+psycopg://me@host/shop"])
def test_reads_wait_for_the_server_of_a_database(tmp_path, url):
    (tmp_path / "serendip.toml").write_text(f'[store]\nurl = "{url}"\n')
    assert open_server_options(tmp_path, "127.0.0.1", 0).waits_for_others == bool(url)


class Stuck(TinyEngine):
    """Answers the search ``wait`` only when it is told to, and keeps all texts it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.taken, self.texts = threading.Event(), threading.Semaphore(0), list[str]()

    def recommend(self, request):
        self.texts.append(request.text)
        if request.text == "wait":
            self.taken.release()
            assert self.go.wait(30)
        return super().recommend(request)


def test_files_are_read_while_all_places_of_rankings_are_taken():
    engine = Stuck()
    client = WireClient(
        engine, options=ServerOptions(config=ServeConfig(waiting_requests=1, deadline="20s"))
    )

    async def scene() -> list[int]:
        stuck = asyncio.create_task(client.ask_async("GET", "/v1/search?q=wait"))
        await asyncio.to_thread(engine.taken.acquire)
        waiting = asyncio.create_task(client.ask_async("GET", "/v1/search?q=film"))
        asked = [client.ask_async("GET", path) for path in ("/media/items/f1", REPORT_PATH)]
        answers = [(await asyncio.wait_for(one, 10)).status_code for one in asked]
        assert not waiting.done()
        engine.go.set()
        await asyncio.gather(stuck, waiting)
        return answers

    try:
        assert asyncio.run(scene()) == [404, 404]
    finally:
        engine.go.set()


def test_while_it_is_loading_the_answer_says_when_to_try_again():
    client = WireClient()
    client.holder.close()
    for path in ("/health/ready", "/v1/search?q=film", "/"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert error_of(client.get("/health/ready"))["type"] == "not_trained"
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("failure", "start"),
    [
        (StorageError("database /home/me/s.db: disk is full.", "Free /home."), "the database"),
        (ArtefactError("/home/me/generations/gen-1 is altered.", "Look."), "a stored artefact"),
    ],
)
def test_messages_with_file_names_are_logged_rarely_and_not_in_the_answer(failure, start, caplog):
    engine = Held(failure)
    engine.go.set()
    client = WireClient(engine)
    answer = client.post("/v1/events", json=EVENT)
    page = client.post("/like", data={"user": "u", "item_id": "f1"})
    assert [response.status_code for response in (answer, page)] == [503, 503]
    assert "retry-after" not in answer.headers
    assert error_of(answer)["message"].startswith(start)
    assert "/home" not in answer.text + page.text
    assert [str(failure) in record.getMessage() for record in caplog.records] == [True]


def test_the_pool_computes_nothing_for_a_client_that_hung_up_in_the_queue():
    engine = Stuck()
    pool = build_pool(engine)

    async def search(text: str, gone: threading.Event) -> object:
        current_request.set(CurrentRequest(text, gone.is_set))
        return await pool.read(lambda engine: engine.recommend(Request("search", text=text)))

    async def scene() -> list[object]:
        gone = [threading.Event() for _ in range(3)]
        tasks = [asyncio.create_task(search("wait", gone[0]))]
        await asyncio.to_thread(engine.taken.acquire)
        tasks += [
            asyncio.create_task(search(text, left))
            for text, left in zip(["stays", "leaves"], gone[1:], strict=True)
        ]
        await asyncio.sleep(0)
        gone[-1].set()
        engine.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(scene())
    assert isinstance(results[-1], ClientGoneError)
    assert engine.texts == ["wait", "stays"]


def test_more_requests_than_may_wait_get_429_as_json_and_as_a_page_and_health_is_answered():
    engine = Stuck()
    client = WireClient(engine, options=ServerOptions(config=ServeConfig(waiting_requests=1)))

    async def scene():
        def ask(path):
            return asyncio.create_task(client.ask_async("GET", path))

        taken = [ask("/v1/search?q=wait")]
        await asyncio.to_thread(engine.taken.acquire)
        pages = {ask(path) for path in ("/", "/search?q=film")}
        calls = {ask(path) for path in ("/v1/search?q=film", "/v1/items/f1")}
        waiting, refused = pages | calls, set()
        while len(waiting) > 1:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        health = [await ask(path) for path in ("/health/live", "/health/ready", "/metrics")]
        engine.go.set()
        answers = await asyncio.gather(*taken, *waiting)
        refused_pages = [task.result() for task in refused & pages]
        return answers, refused_pages, [task.result() for task in refused & calls], health

    answers, pages, calls, health = asyncio.run(scene())
    assert [answer.status_code for answer in answers] == [200] * 2
    assert len(pages) + len(calls) == 3
    for answer in (*pages, *calls):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert {error_of(answer)["type"] for answer in calls} == {"overload"}
    assert all(answer.headers["content-type"].startswith("text/html") for answer in pages)
    assert [answer.status_code for answer in health] == [200] * 3
