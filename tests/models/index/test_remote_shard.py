"""What listens at the address of a shard may say anything, or nothing: the deadline holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow.flight as flight
import pytest

from serendip.data.arrays import FloatArray
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.errors import StorageError
from serendip.models.index.ann_index import FoundItems, SearchPlan
from serendip.models.index.remote_shard import (
    KEEP_SET,
    PROPOSE,
    SCORE,
    UNKNOWN_SET,
    RemoteShard,
    ShardConnection,
    ShardQuestion,
    found_bytes,
    split_question,
)

QUERY: FloatArray = np.array([1.0, 0.5], np.float32)
PLAN = SearchPlan(2, 4)
FOUND = FoundItems(np.array([10, 13], np.int32), np.array([0.5, 0.25], np.float32))


class Peer(flight.FlightServerBase):  # type: ignore[misc]
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.says: dict[str, Callable[[bytes], Iterator[bytes]]] = {}
        self.ended = threading.Event()
        super().__init__("grpc://127.0.0.1:0")

    def do_action(self, context: object, action: flight.Action) -> Iterator[bytes]:
        return self.says[action.type](action.body.to_pybytes())


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.ended.set()
    peer.shutdown()


def shard_of(peer: Peer) -> RemoteShard:
    return RemoteShard(ShardConnection(f"127.0.0.1:{peer.port}"), "gen-1", "index", 10, 20)


def ask(shard: RemoteShard, deadline_s: float, allowed: AllowedItems | None = None) -> FoundItems:
    return shard.start(QUERY, PLAN, allowed, time.monotonic() + deadline_s)()


def test_the_deadline_holds_for_all_of_an_answer(peer: Peer) -> None:
    def drip(question: bytes) -> Iterator[bytes]:
        while not peer.ended.wait(0.02):
            yield b"x"

    peer.says = {PROPOSE: drip}
    begin = time.monotonic()
    with pytest.raises(StorageError, match="does not answer: it is late"):
        ask(shard_of(peer), 0.3)
    assert time.monotonic() - begin < 5.0
    with pytest.raises(StorageError, match="it is late"):
        ask(shard_of(peer), -1.0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (found_bytes(FoundItems.none()), None),
        (b"", "does not answer"),
        (b"12345", "does not answer"),
        (np.array([-1, -1], "<i4").tobytes(), "10 to 19"),
        (np.array([1, 2, 10, 0, 0, 0], "<i4").tobytes(), "10 to 19"),  # more products than items
        (found_bytes(FOUND)[:-4], "does not answer"),
        (found_bytes(FoundItems(np.array([20], np.int32), FOUND.closeness[:1])), "10 to 19"),
    ],
)
def test_an_answer_that_is_none_is_a_failure_of_the_shard(
    peer: Peer, answer: bytes, reason: str | None
) -> None:
    peer.says = {PROPOSE: lambda question: iter([answer]), SCORE: lambda question: iter([answer])}
    if reason is None:
        assert not len(ask(shard_of(peer), 20.0).items)
    else:
        with pytest.raises(StorageError, match=reason):
            ask(shard_of(peer), 20.0)
    with pytest.raises(StorageError, match="does not answer"):
        shard_of(peer).start_scores(QUERY, FOUND.items[:1], time.monotonic() + 20.0)()


def test_any_error_of_a_peer_is_a_failure_of_the_shard(peer: Peer) -> None:
    with pytest.raises(StorageError, match="does not answer"):
        ask(shard_of(peer), 20.0)  # a KeyError there
    with pytest.raises(StorageError, match="does not answer"):
        shard_of(peer)._connection.state(20.0)


def test_a_connection_knows_whether_its_last_question_was_answered(peer: Peer) -> None:
    shard = shard_of(peer)
    with pytest.raises(StorageError) as refused:
        ask(shard, 20.0)
    assert shard._connection.problem == str(refused.value)
    peer.says = {PROPOSE: lambda question: iter([found_bytes(FOUND)])}
    ask(shard, 20.0)
    assert shard._connection.problem == ""


def test_a_set_that_the_shard_lacks_is_sent_once(peer: Peer) -> None:
    kept: list[str] = []

    def propose(question: bytes) -> Iterator[bytes]:
        if ShardQuestion.of(*split_question(question)).items not in kept:
            raise flight.FlightServerError(UNKNOWN_SET)
        return iter([found_bytes(FOUND)])

    def keep(question: bytes) -> Iterator[bytes]:
        kept.append(split_question(question)[0]["items"])
        return iter([b""])

    peer.says = {PROPOSE: propose, KEEP_SET: keep}
    allowed = AllowedItems(ItemSet(np.arange(20) % 2 == 0))
    shard = shard_of(peer)
    for _ in range(2):
        found = ask(shard, 20.0, allowed)
        assert found.items.tolist() == [10, 13] and found.closeness.tolist() == [0.5, 0.25]
    assert len(kept) == 1
    assert shard._connection.problem == ""


@pytest.mark.parametrize(
    "plan",
    [SearchPlan(0, 4), SearchPlan(1, -1), SearchPlan(1, 2**40), SearchPlan(1, 4, share=0.0)],
)
def test_a_plan_that_nobody_makes_is_no_question(plan: SearchPlan) -> None:
    asked = ShardQuestion("gen-1", "index", 10, 20, plan, "", QUERY, FOUND.items)
    with pytest.raises(ValueError, match=r"are wanted|is allowed"):
        ShardQuestion.of(*split_question(asked.to_bytes()))
