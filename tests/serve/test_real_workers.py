import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from processes import Client, children, connection_each, serving, wait_until
from test_real_service import publish_copy

from serendip.engine.engine import Engine

MANY = 20_000


class Worker(Client):
    def post(self, item_id: str, title: str) -> None:
        assert self.write("POST", "/v1/items", {"item_id": item_id, "title": title})["new"] == 1

    def found(self, text: str) -> list[str]:
        return self.ids(f"/v1/search?q={text}&limit=5")


class Pair:
    """A service with two workers over a workspace."""

    def __init__(self, client: Client, process: subprocess.Popen[str]) -> None:
        self.process, self.port = process, client.connection.port

    @contextmanager
    def workers(self) -> Iterator[list[Worker]]:
        with connection_each(self.process.pid, self.port) as each:
            yield [Worker(connection) for connection in each.values()]

    def connect(self) -> Worker:
        return Worker(HTTPConnection("127.0.0.1", self.port, timeout=30))

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    with serving(folder, "--workers", "2") as running:
        yield Pair(*running)


def test_an_item_is_found_and_a_deleted_one_is_not_whichever_worker_is_asked(shop: Path) -> None:
    draw = random.Random(0)
    alive: list[str] = []
    with pair(shop) as service, service.workers() as workers:
        for number in range(200):
            one, other = draw.sample(workers, 2)
            if alive and draw.random() < 0.4:
                gone = alive.pop(draw.randrange(len(alive)))
                one.write("DELETE", f"/v1/items/{gone}")
                assert other.ask("GET", f"/v1/items/{gone}")[0] == 404
                assert gone not in other.found(f"zebra{gone}")
            else:
                name = f"new{number}"
                one.post(name, f"A zebra{name} of its own")
                alive.append(name)
                assert other.found(f"zebra{name}")[:1] == [name]
            kept = draw.choice(alive) if alive else "i1"
            assert all(worker.ask("GET", f"/v1/items/{kept}")[0] == 200 for worker in workers)
        tasks = Path(f"/proc/{service.process.pid}/task")
        assert len(list(tasks.iterdir())) == 1  # a fork copies only the thread that calls it
        assert service.end() == 0


def write_until(
    stop: threading.Event, connect: Callable[[], Worker], name: str
) -> tuple[list[str], list[str]]:
    """Post items and events, in turn, until told to stop; the ids that were acknowledged."""
    items: list[str] = []
    events: list[str] = []
    worker = connect()
    for number in range(MANY):
        if stop.is_set():
            break
        key = f"{name}-{number}"
        try:
            status, _ = worker.ask("POST", "/v1/items", {"item_id": key, "title": f"Tale {key}"})
            if status == 200:
                items.append(key)
            event = {"user_id": name, "item_id": "i1", "action": "like", "event_id": key}
            status, _ = worker.ask("POST", "/v1/events", event)
            if status == 200:
                events.append(key)
        except (OSError, HTTPException):  # the worker was killed: its answer never came
            worker.close()
            worker = connect()
    worker.close()
    return items, events


@contextmanager
def writers(service: Pair) -> Iterator[list[tuple[list[str], list[str]]]]:
    """Four clients that write; what was acknowledged is in the list after the block."""
    stop = threading.Event()
    done: list[tuple[list[str], list[str]]] = []
    with ThreadPoolExecutor(4) as pool:
        names = ("ann", "ben", "cem", "dee")
        running = [pool.submit(write_until, stop, service.connect, name) for name in names]
        try:
            yield done
        finally:
            stop.set()
        done += [future.result() for future in running]


def assert_nothing_is_lost(service: Pair, done: list[tuple[list[str], list[str]]]) -> None:
    with service.workers() as workers:
        for worker in workers:
            for items, events in done:
                assert items
                assert all(worker.ask("GET", f"/v1/items/{name}")[0] == 200 for name in items)
                name = events[0].partition("-")[0]
                stored = worker.read(f"/v1/users/{name}/history?limit=1000")["events"]
                assert len(stored) >= len(events)


def test_two_writers_lose_nothing_and_both_workers_find_the_same(shop: Path) -> None:
    with pair(shop) as service, service.workers() as (one, other):
        with writers(service) as done:
            for number in range(30):  # fewer than the hits of a search in all
                one.post(f"extra{number}", f"Extra tale {number}")
                assert other.found(f"extra+tale+{number}")
        assert_nothing_is_lost(service, done)

        def are_same() -> bool:  # each worker counts the events within half a second
            for path in (
                "/v1/search?q=tale&limit=1000",
                "/v1/search?q=horror&user_id=u1&limit=1000",
            ):
                answers = [worker.read(path)["items"] for worker in (one, other)]
                shown, same = [[(item["item_id"], item["score"]) for item in a] for a in answers]
                assert len(shown) >= 20  # what has the word
                if shown != same:
                    return False
            return True

        wait_until(are_same, "the same answers of both workers")


def test_a_worker_killed_while_it_writes_loses_nothing_acknowledged(shop: Path) -> None:
    with pair(shop) as service:
        killed: set[int] = set()
        with writers(service) as done:
            for _ in range(3):
                reader = service.connect()
                for _ in range(40):
                    try:
                        assert reader.ask("GET", "/v1/search?q=tale")[0] == 200
                    except (OSError, HTTPException):
                        reader.close()
                        reader = service.connect()
                reader.close()
                victim = min(set(children(service.process.pid)) - killed)
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
                wait_for(service, lambda _: not killed & set(children(service.process.pid)))
                wait_for(service, lambda ready: ready["workers"] == 2 and not ready["degraded"])
        assert_nothing_is_lost(service, done)
        assert service.end() == 0


def wait_for(service: Pair, is_so: Callable[[Any], bool]) -> None:
    def is_reached() -> bool:
        worker = service.connect()
        try:
            status, ready = worker.ask("GET", "/health/ready")
        except (OSError, HTTPException):
            return False
        finally:
            worker.close()
        return status == 200 and is_so(ready)

    wait_until(is_reached, "the state")


def test_a_published_generation_answers_in_both_workers(shop: Path) -> None:
    with pair(shop) as service, service.workers() as (one, other):
        assert one.read("/health/ready")["generation"] == "gen-1"
        publish_copy(shop)
        for worker in (one, other):
            wait_until(
                lambda w=worker: w.read("/health/ready")["generation"] == "gen-2", "the generation"
            )
            assert worker.read("/v1/recommend?user_id=u1")["generation"] == "gen-2"
        one.post("late", "A zebra after the change")
        assert other.found("zebra")[:1] == ["late"]


def test_what_is_written_elsewhere_is_seen_within_a_second(shop: Path) -> None:
    from serendip.data.items.catalogue import Item

    with pair(shop) as service, service.workers() as workers:
        engine = Engine.open(shop)
        engine.add_items([Item("elsewhere", "A zebra from elsewhere")])
        engine.close()
        for worker in workers:
            wait_until(lambda w=worker: w.found("zebra")[:1] == ["elsewhere"], "the item")
