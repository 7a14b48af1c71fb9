"""The application of a process: what it answers, and which generation."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from processes import wait_until
from starlette.types import ASGIApp
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.data.store.tables.api_keys import ApiKeys
from serendip.errors import StorageError
from serendip.serve.engine_holder import EngineHolder, PublishedGenerations
from serendip.serve.server import open_application
from serendip.serve.server_options import LOCAL


def client_of(app: ASGIApp) -> WireClient:
    client = WireClient()
    client.app = app
    return client


def test_two_processes_answer_as_one_service_and_follow_the_generation() -> None:
    names = ["gen-1"]
    published = PublishedGenerations(lambda: TinyEngine(generation=names[-1]), lambda: names[-1])
    holders = [EngineHolder(), EngineHolder()]
    with ExitStack() as stack:
        opened = (open_application(published, LOCAL, holder) for holder in holders)
        clients = [client_of(stack.enter_context(one)) for one in opened]
        for client in clients:
            assert client.get("/v1/recommend").json()["generation"] == "gen-1"
        names.append("gen-2")
        for client in clients:
            wait_until(
                lambda client=client: client.get("/v1/recommend").json()["generation"] == "gen-2",
                "the next generation",
            )
    assert not any(holder.is_ready for holder in holders)


def test_a_process_that_cannot_write_goes_on_to_answer() -> None:
    engine = TinyEngine()
    engine.storage_problem = lambda: "the disk is full"  # type: ignore[method-assign]
    with open_application(PublishedGenerations(lambda: engine), LOCAL, EngineHolder()) as app:
        ready = client_of(app).get("/health/ready")
    assert (ready.status_code, ready.json()["storage_problem"]) == (200, "the disk is full")


def test_what_was_opened_is_closed_where_the_rest_cannot_be_opened() -> None:
    engine = TinyEngine()

    def open_keys() -> ApiKeys:
        raise StorageError("the keys cannot be read.")

    published = PublishedGenerations(lambda: engine)
    opened = open_application(published, replace(LOCAL, open_keys=open_keys), EngineHolder())
    with pytest.raises(StorageError), opened:
        raise AssertionError("it was opened")
    assert engine.is_closed
