"""What waits too long, or for nobody, is not computed; bursts are."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.engine.request import Request
from serendip.errors import ClientGoneError, OverloadError
from serendip.serve.current_request import Client, CurrentRequest, set_current_request
from serendip.serve.engine_holder import READERS, EngineHolder, EnginePool
from serendip.serve.limits import ServiceLimits
from serendip.serve.read_queue import (
    BURST_S,
    SHORT_S,
    STANDING,
    STANDS_S,
    WINDOW_S,
    ReadQueue,
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def build_queue(length: int = 64, each_s: float = 0.01) -> tuple[ReadQueue, Clock, Callable]:
    """A queue whose requests take so long, its clock, and what computes one of them."""
    clock = Clock()
    queue = ReadQueue(length, clock)

    def compute(joined_at: float, client: Client | None = None) -> None:
        with queue.leave(joined_at, CurrentRequest("r", client or Client())):
            clock.now += each_s

    return queue, clock, compute


def test_no_more_wait_than_may_and_the_place_of_one_that_left_is_free():
    queue, _, compute = build_queue(length=2)
    first = queue.join()
    queue.join()
    with pytest.raises(OverloadError, match="2 requests are waiting"):
        queue.join()
    compute(first)
    queue.join()


@pytest.mark.parametrize(
    ("each_s", "count"), [(0.01, 64), (0.02, 64), (0.03, 64), (0.05, 40), (0.1, 20), (0.3, 6)]
)
def test_a_burst_is_computed_to_its_end(each_s, count):
    queue, clock, compute = build_queue(each_s=each_s)
    came = [queue.join() for _ in range(count)]
    for joined_at in came:
        compute(joined_at)
    assert clock.now - came[0] == pytest.approx(count * each_s)


def test_a_burst_is_computed_to_its_end_while_others_come_now_and_then():
    queue, _, compute = build_queue(each_s=0.02)
    waiting = deque(queue.join() for _ in range(40))
    for number in range(50):  # one more comes in the time that five take
        compute(waiting.popleft())
        if number % 5 == 0:
            waiting.append(queue.join())
    assert not waiting


@pytest.mark.parametrize("each_s", [0.01, 0.02, 0.08])
def test_a_queue_that_stands_computes_only_what_has_just_come(each_s):
    queue, clock, compute = build_queue(each_s=each_s)
    waits, refused = list[float](), 0
    waiting = deque[float]()
    while len(waits) < 500:  # four come in the time that one takes
        refused += join_all(queue, waiting, 4)
        refused += compute_one(waiting, compute, clock, waits)
    assert max(waits) <= BURST_S + each_s
    slow = sum(wait > (STANDING + 1) * each_s + 1e-9 for wait in waits)
    assert slow <= 35  # at the beginning, until it stands
    assert refused == pytest.approx(3 * 500, abs=64)


def test_a_request_is_turned_away_when_it_could_not_join():
    queue, clock, _ = build_queue()
    refused_at = list[float]()
    for number in range(1_000):  # nothing is computed at all
        clock.now = number / 100
        if queue.turn_away():
            refused_at.append(clock.now)
        else:
            queue.join()
    assert len(refused_at) == 1_000 - 64
    assert refused_at[0] == 0.64


def test_a_queue_stands_no_longer_once_its_threads_are_idle_for_a_quarter_of_a_second():
    queue, clock, compute = build_queue(each_s=0.02)
    waiting = let_it_stand(queue, compute, clock)
    end = clock.now + 2 * WINDOW_S
    while clock.now < end:  # a bit more than half of what can be computed comes
        join_all(queue, waiting, 1)
        compute_one(waiting, compute, clock, [])
        clock.now += 0.015
    assert join_all(queue, waiting, 64 - len(waiting)) == 0


def test_a_queue_goes_on_to_stand_while_its_threads_are_hardly_idle():
    queue, clock, compute = build_queue(each_s=0.02)
    waiting = let_it_stand(queue, compute, clock)
    for _ in range(200):
        join_all(queue, waiting, 1)
        compute_one(waiting, compute, clock, [])
        clock.now += 0.002
    assert join_all(queue, waiting, 64) == 64 - STANDING


def test_several_threads_are_idle_for_their_share():
    clock = Clock()
    queue = ReadQueue(64, clock, readers=4)
    for number in range(100):  # nothing is computed at all
        clock.now = number / 100
        join_all(queue, deque(), 1)
    waiting = 64
    with ExitStack() as running:
        for _ in range(2):  # two of four threads compute
            running.enter_context(queue.leave(clock.now, CurrentRequest("r", Client())))
            waiting -= 1
        while waiting:
            queue.give_up()
            waiting -= 1
        clock.now += 0.4
        assert join_all(queue, deque(), 2) == 1
        queue.give_up()
        clock.now += 0.15
        assert join_all(queue, deque(), 64) == 0


def test_a_thread_that_hangs_does_not_keep_a_queue_standing():
    clock = Clock()
    queue = ReadQueue(64, clock, slow_s=0.1)
    for number in range(100):
        clock.now = number / 100
        join_all(queue, deque(), 1)
    with queue.leave(clock.now, CurrentRequest("r", Client())):
        for _ in range(63):
            queue.give_up()
        clock.now += WINDOW_S
        assert join_all(queue, deque(), 64) == 0


def test_a_burst_has_its_time_again_after_a_standing_queue_was_quiet():
    queue, clock, compute = build_queue(each_s=0.02)
    waiting = let_it_stand(queue, compute, clock)
    while waiting:
        compute_one(waiting, compute, clock, [])
    assert join_all(queue, waiting, 64) == 64 - STANDING
    while waiting:
        compute_one(waiting, compute, clock, [])
    clock.now += 0.3
    begin, came = clock.now, [queue.join() for _ in range(64)]
    for joined_at in came:
        compute(joined_at)
    assert clock.now - begin == pytest.approx(64 * 0.02)


@pytest.mark.parametrize("each_s", [0.002, 0.01, 0.03])
@pytest.mark.parametrize("count", [65, 128, 130, 140, 200, 1_000])
def test_of_a_burst_as_many_as_may_wait_are_answered(count, each_s):
    queue, clock, compute = build_queue(each_s=each_s)
    waiting = deque[float]()
    refused = 0
    for _ in range(count):
        clock.now += 1e-5
        refused += queue.turn_away() or join_all(queue, waiting, 1)
    assert refused == count - 64
    clock.now += 0.03  # until a thread gets hold of the interpreter
    while waiting:
        compute(waiting.popleft())


@pytest.mark.parametrize("spike_s", [0.01, 0.5])
@pytest.mark.parametrize("every_s", [0.3, 0.5, 1.5, 1.9])
def test_pages_of_ten_are_answered_soon_after_a_spike(every_s, spike_s):
    queue, clock, compute = build_queue()
    waiting, refused = deque[float](), 0
    end = clock.now + spike_s
    while clock.now < end:
        refused += join_all(queue, waiting, 100)
        compute_one(waiting, compute, clock, [])
    assert refused
    while waiting:
        compute_one(waiting, compute, clock, [])
    clock.now += 0.25
    for _ in range(20):
        assert join_all(queue, waiting, 10) == 0
        begin = clock.now
        while waiting:
            compute(waiting.popleft())
        clock.now = begin + every_s


def test_requests_that_never_join_keep_no_queue_standing():
    queue, clock, compute = build_queue()
    waiting = let_it_stand(queue, compute, clock)
    end, refused = clock.now + 10.0, 0
    while clock.now < end:  # 40 of the 100 a second that can be computed come
        for _ in range(10):  # and far more that the application refuses, if they come so far
            queue.turn_away()
        if clock.now < end - 9.0:
            join_all(queue, waiting, 1)
        else:
            refused += queue.turn_away() or join_all(queue, waiting, 1)
        compute_one(waiting, compute, clock, [])
        clock.now += 0.015
    assert refused == 0


def let_it_stand(queue: ReadQueue, compute: Callable, clock: Clock) -> deque[float]:
    """Ask for four times as much as can be computed for long; returns who waits in the end."""
    waiting = deque[float]()
    for _ in range(200):
        join_all(queue, waiting, 4)
        compute_one(waiting, compute, clock, [])
    return waiting


def join_all(queue: ReadQueue, waiting: deque[float], count: int) -> int:
    """Let so many wait; returns how many there was no place for."""
    refused = 0
    for _ in range(count):
        try:
            waiting.append(queue.join())
        except OverloadError:
            refused += 1
    return refused


def compute_one(waiting: deque[float], compute: Callable, clock: Clock, waits: list[float]) -> int:
    """Compute the first that has not waited too long; returns how many had."""
    refused = 0
    while waiting:
        joined_at = waiting.popleft()
        try:
            compute(joined_at)
        except OverloadError:
            refused += 1
        else:
            waits.append(clock.now - joined_at)
            break
    return refused


def test_a_queue_that_was_empty_in_between_does_not_stand():
    queue, clock, compute = build_queue()
    for _ in range(10):
        came = [queue.join() for _ in range(64)]
        assert queue.turn_away()
        for joined_at in came:
            compute(joined_at)
    assert clock.now == pytest.approx(640 * 0.01)


def test_a_queue_stands_once_it_refuses_after_it_was_all_but_full_for_so_long():
    queue, clock, compute = build_queue(length=4, each_s=0.11)
    waiting, waits = deque(queue.join() for _ in range(4)), list[float]()
    for _ in range(2):
        compute_one(waiting, compute, clock, waits)
        assert join_all(queue, waiting, 2) == 1
    assert len(waits) == 2
    clock.now += STANDS_S - 0.22
    assert join_all(queue, waiting, 1) == 1
    clock.now += 0.001
    assert join_all(queue, waiting, 1) == 1
    begin = clock.now
    assert compute_one(waiting, compute, clock, waits) == 3  # all but the one that has just come
    assert clock.now - begin == pytest.approx(0.11)


def test_those_that_have_just_come_are_computed_when_a_queue_begins_to_stand():
    queue, clock, compute = build_queue(length=8)
    waiting = deque(queue.join() for _ in range(8))
    clock.now += STANDS_S - SHORT_S / 2
    compute(waiting.popleft())
    waiting.append(queue.join())
    clock.now += SHORT_S / 2
    assert join_all(queue, waiting, 1) == 1
    assert compute_one(waiting, compute, clock, []) == 7
    assert not waiting


def test_a_short_queue_computes_all_that_wait():
    queue, _, compute = build_queue(length=STANDING)
    waiting = deque(queue.join() for _ in range(STANDING))
    assert join_all(queue, deque(), 100) == 100
    for joined_at in waiting:
        compute(joined_at)
    assert not queue.turn_away()


def test_nothing_is_computed_that_has_waited_for_too_long():
    queue, clock, compute = build_queue()
    joined_at = queue.join()
    clock.now += 1.9
    compute(joined_at)
    joined_at = queue.join()
    clock.now += 2.1
    with pytest.raises(OverloadError):
        compute(joined_at)


def test_what_nobody_waits_for_is_not_computed():
    queue, _, compute = build_queue()
    client = Client()
    joined_at = queue.join()
    client.is_gone = True
    with pytest.raises(ClientGoneError):
        compute(joined_at, client)


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


def test_the_pool_computes_nothing_for_a_client_that_hung_up_in_the_queue():
    engine, holder = Stuck(), EngineHolder()
    holder.swap(engine)
    pool = EnginePool(holder)

    async def search(text: str, client: Client) -> object:
        set_current_request(CurrentRequest(text, client))
        return await pool.read(lambda engine: engine.recommend(Request("search", text=text)))

    async def scene() -> list[object]:
        clients = [Client() for _ in range(READERS + 2)]
        tasks = [asyncio.create_task(search("wait", client)) for client in clients[:READERS]]
        for _ in range(READERS):
            await asyncio.to_thread(engine.taken.acquire)
        tasks += [
            asyncio.create_task(search(text, client))
            for text, client in zip(["stays", "leaves"], clients[READERS:], strict=True)
        ]
        await asyncio.sleep(0)
        clients[-1].is_gone = True
        engine.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(scene())
    assert isinstance(results[-1], ClientGoneError)
    assert engine.texts == ["wait"] * READERS + ["stays"]


def test_more_requests_than_may_wait_get_429_as_json_and_as_a_page_and_health_is_answered():
    engine = Stuck()
    client = WireClient(engine, limits=ServiceLimits(waiting_requests=1))

    async def scene():
        def ask(path):
            return asyncio.create_task(client.ask_async("GET", path))

        taken = []
        for _ in range(READERS):  # each begins once the one before it is slow
            taken.append(ask("/v1/search?q=wait"))
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
    assert [answer.status_code for answer in answers] == [200] * (READERS + 1)
    assert len(pages) + len(calls) == 3
    for answer in (*pages, *calls):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert {error_of(answer)["type"] for answer in calls} == {"overload"}
    assert all(answer.headers["content-type"].startswith("text/html") for answer in pages)
    assert [answer.status_code for answer in health] == [200] * 3
