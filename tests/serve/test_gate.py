import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from httpx import Response
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.cli.serve import open_server_options
from serendip.data.events.event import Event
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.engine.config.serve import ServeConfig
from serendip.engine.engine import Engine
from serendip.errors import (
    ArtefactError,
    BusyError,
    ClientGoneError,
    DiskFullError,
    OverloadError,
    SerendipError,
    StorageError,
    UnknownItemError,
)
from serendip.serve import gate
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import BURST_S, QUIET_S, READERS, EngineGate, WaitingCall, WaitingRoom
from serendip.serve.page.routes import REPORT_PATH
from serendip.serve.server_options import ServerOptions
from serendip.serve.shared_state import SharedState

READS = ["/v1/search?q=horror+tale&user_id=u1", "/v1/recommend?surface=home&user_id=u1"]
READS += ["/v1/items/i1/similar?user_id=u1", "/v1/suggest?q=ho&user_id=u1"]
READS += ["/v1/suggest?user_id=u1"]
READS += ["/v1/explain?item_id=i1&surface=home&user_id=u1", "/v1/items/i1", "/v1/users"]
READS += ["/v1/users/u1/history", "/", "/?user=u1", "/search?q=horror", "/items/i1?user=u1"]
READS += ["/why?item_id=i1&user=u1", "/health/live", "/health/ready", "/metrics"]

EVENT = {"user_id": "waits", "item_id": "i1", "action": "like"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
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
    gate = EngineGate(holder, ServerOptions(config=ServeConfig(**options)))
    gate._writer = WaitingRoom(waiting_writes, threads=1, sheds=False)
    return gate


def test_a_write_beyond_the_queue_is_refused_and_queued_ones_are_done():
    engine = Held()
    pool = build_pool(engine, waiting_writes=2)

    async def scene() -> list[int]:
        tasks = await queue_writes(engine, pool, waiting=2)
        with pytest.raises(BusyError, match="2 others are waiting"):
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
    client.holder.swap(None)
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


def build_rows(name: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [{"user_id": name, "item_id": f"i{number}", **more} for number in range(count)]


def post_while_locked(
    engine: Engine, shop: Path, bodies: Sequence[list[dict[str, Any]]]
) -> tuple[list[Response], int]:
    """Answers to posts of which the first one waits for the lock until all others are queued.

    Returns:
        the answers, and the number of transactions that wrote.
    """
    client, commits = WireClient(engine), list[str]()

    async def scene(waits) -> list[Response]:
        posts = []
        with locked(shop):
            for body in bodies:
                asked = client.ask_async("POST", "/v1/events", json=body)
                posts.append(asyncio.create_task(asked))
                await asyncio.to_thread(waits.wait, 30)
            await client.ask_async("GET", "/v1/users/u0/history")  # all posts are queued by then
            commits.clear()
        return await asyncio.gather(*posts)

    def executes(connection) -> None:
        commits.append("commit")

    with waiting_for_the_lock() as waits:
        sqlalchemy.event.listen(engine._store.database._engine, "commit", executes)
        return asyncio.run(scene(waits)), len(commits)


def stored_users(shop: Path) -> list[str]:
    """Users of the events, as often as they were stored one after the other."""
    with closing(Store.open(shop / "serendip.db")) as store:
        seqs = store.tables().events.to_pylist()
    posted = [row["user_id"] for row in seqs if row["user_id"].startswith("post")]
    return [name for place, name in enumerate(posted) if posted[place - 1 : place] != [name]]


def test_posts_that_wait_share_transactions_and_one_that_is_refused_fails_no_other(shop):
    bodies = [
        build_rows("post-0"),
        build_rows("post-a", 100),
        build_rows("post-b", surface="shelve"),
        build_rows("post-c", event_id="same"),
        build_rows("post-d", event_id="same"),
        build_rows("post-e", 100),
    ]
    with closing(Engine.open(shop)) as engine:
        answers, commits = post_while_locked(engine, shop, bodies)
    assert [answer.status_code for answer in answers] == [200, 200, 422, 200, 200, 200]
    assert error_of(answers[2])["type"] == "unsupported"
    assert [answer.json().get("new") for answer in answers] == [1, 100, None, 1, 0, 100]
    assert stored_users(shop) == ["post-0", "post-c", "post-a", "post-e"]
    assert commits == 2


class FullDisk(TinyEngine):
    """Asks for a post, for others once there are some, and then finds no room."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()
        self.sizes = list[int]()

    def add_event_groups(self, groups):
        for events in groups:
            self.sizes.append(len(events))
            self.began.set()
            assert self.go.wait(timeout=30)
        raise DiskFullError("the disk is full.", "Free some space.")


def test_no_post_of_a_transaction_that_fails_is_acknowledged():
    engine = FullDisk()
    client = WireClient(engine)

    async def scene() -> list[Response]:
        posts = []
        for size in (2, 3):
            asked = client.ask_async("POST", "/v1/events", json=build_rows("u", size))
            posts.append(asyncio.create_task(asked))
            await asyncio.to_thread(engine.began.wait, 30)
        await client.ask_async("GET", "/v1/items/film-01")  # both posts are queued by then
        engine.go.set()
        return await asyncio.gather(*posts)

    assert [answer.status_code for answer in asyncio.run(scene())] == [507, 507]
    assert engine.sizes == [2, 3]


class Sizes(TinyEngine):
    """Keeps the sizes of the posts of a transaction; others come after the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list[int]()
        self.come: Callable[[], object] = list

    def add_event_groups(self, groups):
        self.sizes = []
        for events in groups:
            self.sizes.append(len(events))
            if len(self.sizes) == 1:
                self.come()
        return self.sizes


class Writer(EngineGate):
    """A gate whose writer does nothing of its own accord."""

    def __init__(self) -> None:
        super().__init__(EngineHolder())
        self.engine = Sizes()
        self.holder.swap(self.engine)
        self._writer = WaitingRoom(64, sheds=False)

    def join(self, *sizes: int) -> None:
        for size in sizes:
            post = WaitingCall(lambda: None, events=[Event("u", "i", 1.0)] * size)
            self._writer.join(post)

    def take_sizes(self, *later: int) -> list[int]:
        """The posts of the next transaction, while which others come."""
        self.engine.come = lambda: self.join(*later)
        self._store(self._writer.take())
        return self.engine.sizes


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(gate, "MAX_EVENTS_AT_ONCE", 10)
    return Writer()


def test_posts_are_stored_in_their_order_as_many_as_a_transaction_takes(writer):
    writer.join(50, 9, 1, 7, 2)
    assert writer.take_sizes() == [50]
    writer.join(1, 1)
    assert writer.take_sizes() == [9, 1]
    assert writer.take_sizes() == [7, 1, 1]
    assert writer.take_sizes() == [2]
    writer.join(4)
    assert writer.take_sizes(7, 3) == [4, 3]
    assert writer.take_sizes() == [7]


class Clock:
    def __init__(self) -> None:
        self.now = 1.0  # nobody was ever overloaded at 0

    def __call__(self) -> float:
        return self.now


class Room:
    """A room with one thread, whose requests take so long, on a clock that is set by hand."""

    def __init__(
        self,
        length: int = 64,
        each_s: float = 0.01,
        load: SharedState | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock, self.each_s, self.load = clock or Clock(), each_s, load or SharedState()
        self.room = WaitingRoom(length, self.load, self.clock)
        self.visits, self.waits, self.order = list[WaitingCall](), list[float](), list[float]()

    def come(self, count: int = 1) -> int:
        """Let so many come; how many were refused at the door."""
        refused = 0
        for _ in range(count):
            visit = WaitingCall(lambda: None, lambda: False, self.clock.now)
            try:
                self.room.join(visit)
            except OverloadError:
                refused += 1
            else:
                self.visits.append(visit)
        return refused

    def compute(self, count: int = 1) -> None:
        """Compute so many of those that wait, if there are any."""
        for _ in range(count):
            if not self.room._waiting:
                return
            visit = self.room.take()
            self.order.append(visit.came)
            self.waits.append(self.clock.now - visit.came)
            self.clock.now += self.each_s
            visit()

    def overload(self, seconds: float, times: int = 4) -> int:
        """Ask for several times as much as can be computed; how many were refused at the door."""
        end, refused = self.clock.now + seconds, 0
        while self.clock.now < end:
            refused += self.come(times)
            self.compute()
        return refused

    def visit_at_random(self, count: int, share: float) -> int:
        """Let so many come at random moments, of what can be computed such a share; the refused."""
        draw, next_at, refused = random.Random(1), self.clock.now, 0
        for _ in range(count):
            next_at += draw.expovariate(share / self.each_s)
            while self.room._waiting and self.clock.now < next_at:
                self.compute()
            self.clock.now = max(self.clock.now, next_at)
            refused += self.come()
        return refused

    @property
    def refused_inside(self) -> int:
        done = [visit.result for visit in self.visits if visit.result.done()]
        return sum(isinstance(result.exception(), OverloadError) for result in done)


def test_no_more_wait_than_may_and_the_place_of_one_that_left_is_free() -> None:
    room = Room(length=2)
    assert room.come(3) == 1
    room.compute()
    assert room.come(2) == 1
    room.room.leave(room.visits[-1])
    assert not room.room.turn_away()


@pytest.mark.parametrize(("each_s", "count"), [(0.01, 64), (0.03, 64), (0.1, 20), (0.3, 6)])
def test_a_burst_is_computed_to_its_end_the_oldest_first(each_s: float, count: int) -> None:
    room = Room(each_s=each_s)
    for _ in range(count):
        room.clock.now += 1e-4
        assert room.come() == 0
    room.compute(count)
    assert room.order == sorted(room.order)
    assert len(room.order) == count


def test_eight_clients_that_ask_again_at_once_are_never_refused() -> None:
    room = Room(each_s=0.05)
    room.come(8)
    for _ in range(2_000):
        room.compute()
        assert room.come() == 0
    assert max(room.waits) == pytest.approx(7 * 0.05)


@pytest.mark.parametrize("each_s", [0.002, 0.01, 0.08])
def test_a_queue_that_stays_computes_only_what_has_just_come(each_s: float) -> None:
    room = Room(each_s=each_s)
    refused = room.overload(seconds=max(20.0, 500 * each_s))
    computed = len(room.waits)
    slow = sum(wait > each_s + 1e-9 for wait in room.waits)
    assert slow <= 64 / 3 + 1  # while the room fills
    assert max(room.waits) <= BURST_S
    assert refused + room.refused_inside == pytest.approx(3 * computed, abs=65)
    assert room.refused_inside <= 64


@pytest.mark.parametrize("count", [65, 200, 1_000])
def test_of_a_burst_as_many_as_may_wait_are_answered(count: int) -> None:
    room, refused = Room(), 0
    for _ in range(count):
        room.clock.now += 1e-5
        refused += room.room.turn_away() or room.come()
    assert refused == count - 64
    room.compute(64)
    assert (len(room.waits), room.refused_inside) == (64, 0)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_room_has_its_size_again_once_hardly_more_come_than_are_computed(share: float) -> None:
    room = Room()
    room.overload(2.0)
    assert room.come(64) == 63
    room.visit_at_random(300, share)
    assert room.come(40) == 0


def test_a_room_stays_small_while_twice_as_many_come_as_are_computed() -> None:
    room = Room()
    room.overload(2.0)
    assert room.visit_at_random(2_000, 2.0) == pytest.approx(1_000, rel=0.3)
    assert max(room.waits[64:]) < 2 * room.each_s


def test_while_one_room_of_a_service_is_small_all_are() -> None:
    one = Room()
    other = Room(load=one.load, clock=one.clock)
    other.come(40)
    one.overload(1.0)
    assert other.come() == 1
    other.compute()
    assert other.refused_inside == 39  # all but the newest
    assert (other.come(), other.come()) == (0, 1)
    one.clock.now += QUIET_S + 0.01
    assert other.come(40) == 0


def test_in_a_room_that_refuses_no_longer_the_oldest_is_computed_first() -> None:
    room = Room(length=4)
    for number in range(4):
        room.clock.now = 1 + number / 1000
        room.come()
    assert room.room.turn_away()
    room.clock.now += QUIET_S + 0.01
    room.compute()
    assert room.order == [1.0]


def test_what_has_waited_too_long_or_nobody_waits_for_is_not_computed() -> None:
    room = Room()
    room.come(2)
    room.clock.now += BURST_S + 0.1
    room.come()
    room.compute()
    assert room.waits == [0.0]
    assert room.refused_inside == 2

    room = Room()
    visit = WaitingCall(lambda: None, lambda: True, room.clock.now)
    room.room.join(visit)
    room.come()
    room.compute()
    assert isinstance(visit.result.exception(), ClientGoneError)
    cancelled: Callable[[], bool] = room.visits[0].result.cancel
    assert not cancelled()  # it was computed
