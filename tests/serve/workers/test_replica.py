"""The application of a replica: what it answers, which generation, when it is to be replaced."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from processes import wait_until
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.data.events.event import Event
from serendip.errors import LateError, NotTrainedError, SerendipError
from serendip.serve.generation_watch import PublishedGenerations
from serendip.serve.limits import ServiceLimits
from serendip.serve.server_options import LOCAL
from serendip.serve.workers.replica import Replica
from serendip.serve.workers.shared_state import SharedState


def client_of(replica: Replica) -> WireClient:
    client = WireClient()
    client.app = replica.app
    return client


def test_two_replicas_answer_as_one_service_and_follow_the_generation(tmp_path: Path) -> None:
    names = ["gen-1"]
    published = PublishedGenerations(lambda: TinyEngine(generation=names[-1]), lambda: names[-1])
    replicas = [Replica(published, LOCAL, SharedState(tmp_path, 2, name)) for name in "ab"]
    try:
        clients = [client_of(replica) for replica in replicas]
        for replica, client in zip(replicas, clients, strict=True):
            replica.check()
            assert client.get("/v1/recommend").json()["generation"] == "gen-1"
        names.append("gen-2")
        for client in clients:
            wait_until(
                lambda client=client: client.get("/v1/recommend").json()["generation"] == "gen-2",
                "the next generation",
            )
        assert clients[0].get("/health/ready").json()["workers"] == 2
    finally:
        for replica in replicas:
            replica.close()
    with pytest.raises(NotTrainedError):
        replicas[0].check()


def test_a_replica_whose_requests_hang_is_to_be_replaced() -> None:
    entered, gate = threading.Event(), threading.Event()

    class Hanging(TinyEngine):
        def add_events(self, events: Sequence[Event]) -> int:
            entered.set()
            assert gate.wait(timeout=60)
            return super().add_events(events)

    options = replace(LOCAL, limits=ServiceLimits(deadline_s=0.02))
    replica = Replica(PublishedGenerations(Hanging), options, SharedState())
    body = {"user_id": "u", "item_id": "film-01"}
    post = partial(client_of(replica).post, "/v1/events", json=body)
    thread = threading.Thread(target=post)
    try:
        thread.start()
        assert entered.wait(timeout=60)
        wait_until(lambda: is_to_be_replaced(replica, LateError), "the write that hangs")
    finally:
        gate.set()
        thread.join()
    wait_until(lambda: not is_to_be_replaced(replica, LateError), "the end of the write")
    replica.close()


def is_to_be_replaced(replica: Replica, error: type[SerendipError]) -> bool:
    try:
        replica.check()
    except error:
        return True
    return False


def test_a_replica_that_cannot_write_goes_on_to_answer() -> None:
    engine = TinyEngine()
    engine.storage_problem = lambda: "the disk is full"  # type: ignore[method-assign]
    replica = Replica(PublishedGenerations(lambda: engine), LOCAL, SharedState())
    replica.check()
    ready = client_of(replica).get("/health/ready")
    assert (ready.status_code, ready.json()["storage_problem"]) == (200, "the disk is full")
    replica.close()
