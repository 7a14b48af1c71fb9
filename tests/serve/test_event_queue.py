"""Posts of events that wait for the writer share transactions: small ones first, none for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from httpx import Response
from test_gate import locked, waiting_for_the_lock
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.engine.engine import Engine
from serendip.errors import DiskFullError
from serendip.serve import gate
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import EngineGate, WaitingRoom


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


def test_small_posts_are_stored_before_large_ones_that_came_earlier(shop):
    sizes = {"post-a": 100, "post-b": 100, "post-c": 100, "post-d": 1, "post-e": 1}
    bodies = [build_rows("post-0"), *(build_rows(name, size) for name, size in sizes.items())]
    with closing(Engine.open(shop)) as engine:
        answers, _ = post_while_locked(engine, shop, bodies)
    assert [answer.json()["new"] for answer in answers] == [1, *sizes.values()]
    expected = ["post-0", "post-d", "post-e", "post-a", "post-b", "post-c"]
    assert stored_users(shop) == expected


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


class Writer(EngineGate):
    """A gate whose writer does nothing of its own accord."""

    def __init__(self) -> None:
        super().__init__(EngineHolder())
        self._writer = WaitingRoom(64, sheds=False)

    def join(self, sizes: Sequence[int]) -> list[gate._EventPost]:
        events = [Event("u", "i", 1.0)]
        posts = [gate._EventPost(lambda: None, events=events * size) for size in sizes]
        for post in posts:
            self._writer.join(post)
        return posts

    def begin(self) -> Iterator[Sequence[Event]]:
        """The events of the next transaction, each when it is asked for."""
        return self._take_posts([self._writer.take()])  # type: ignore[list-item]

    def take_sizes(self) -> list[int]:
        return [len(events) for events in self.begin()]


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    """A gate of which a transaction has ten events."""
    monkeypatch.setattr(gate, "MAX_EVENTS_AT_ONCE", 10)
    return Writer()


def test_the_oldest_post_is_in_the_next_transaction_however_large_it_is(writer):
    writer.join([50, 9, 1, 7, 2])
    assert writer.take_sizes() == [50]
    writer.join([1, 1])
    assert writer.take_sizes() == [9, 1]
    assert writer.take_sizes() == [7, 1, 1]
    assert writer.take_sizes() == [2]


def test_what_comes_while_a_transaction_stores_is_stored_in_it_if_there_is_room(writer):
    writer.join([4])
    taken = writer.begin()
    assert len(next(taken)) == 4
    writer.join([7, 3])
    assert [len(events) for events in taken] == [3]
    assert writer.take_sizes() == [7]


def test_a_post_whose_client_has_gone_is_not_stored(writer):
    gone, _, later = writer.join([5, 1, 2])
    gone.result.cancel()
    later.result.cancel()
    assert writer.take_sizes() == [1]
