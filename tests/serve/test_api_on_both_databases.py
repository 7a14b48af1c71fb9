"""What the API stores, over HTTP with a real engine: the same on a file and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres_server import on_both_databases
from wire_client import WireClient, bearer, error_of

from serendip.data.api_key import issue_key
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip.serve.access import Access, KeyRing

pytestmark = on_both_databases


@pytest.fixture
def client(engine: Engine) -> WireClient:
    return WireClient(engine)


@pytest.fixture
def other(shop: Path) -> Iterator[WireClient]:
    """Another service on the same workspace."""
    with closing(Engine.open(shop)) as engine:
        yield WireClient(engine)


def ids_of(client: WireClient, path: str) -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def settle_threads() -> None:
    """Wait for the end of what removes the bytes of the erased."""
    for thread in threading.enumerate():
        if thread.name == "eraser":
            thread.join(60)


def history_of(client: WireClient, user: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = client.get(f"/v1/users/{user}/history").json()["events"]
    return events


def test_an_event_is_in_the_answers_of_all_services_and_counts_once(
    client: WireClient, other: WireClient
) -> None:
    home = "/v1/recommend?user_id=new&k=10"
    before = ids_of(other, home)
    kept = {"item_id": "i1", "action": "like", "country": "KR", "propensity": 0.25}
    event = {"user_id": "new", "event_id": "e1", **kept}
    assert client.post("/v1/events", json=event).json() == {"received": 1, "new": 1}
    assert other.post("/v1/events", json=event).json() == {"received": 1, "new": 0}
    for service in (client, other):
        after = ids_of(service, home)
        assert after != before
        assert "i1" not in after
        (stored,) = history_of(service, "new")
        assert {name: stored[name] for name in kept} == kept
    assert other.get("/v1/explain?user_id=new&item_id=i4").status_code == 200


def test_what_the_databases_would_keep_differently_is_refused(client: WireClient) -> None:
    number = len(history_of(client, "u1"))
    bad: list[tuple[str, dict[str, Any]]] = [
        ("NUL", {"user_id": "a\0b", "item_id": "i1"}),
        ("item_id", {"user_id": "u1", "item_id": "x" * 600}),
        ("value", {"user_id": "u1", "item_id": "i1", "value": "1e999"}),
        ("NUL", {"user_id": "u1", "item_id": "i1", "query": "a\0b"}),
    ]
    for word, event in bad:
        answer = client.post("/v1/events", json=[{"user_id": "u1", "item_id": "i1"}, event])
        assert answer.status_code == 422, (word, answer.text)
        assert word in error_of(answer)["message"]
    assert len(history_of(client, "u1")) == number
    answer = client.post("/v1/items", json={"item_id": "n", "title": "a\0b"})
    assert (answer.status_code, client.get("/v1/items/n").status_code) == (422, 404)


def test_an_item_is_found_until_it_is_deleted(client: WireClient, other: WireClient) -> None:
    item = {"item_id": "n", "title": "Zanzibar é", "attributes": {"genre": "sea", "year": 2001}}
    assert client.post("/v1/items", json=item).json()["new"] == 1
    assert ids_of(client, "/v1/search?q=zanzibar&k=3")[0] == "n"
    assert client.get("/v1/items/n").json()["attributes"] == {"genre": "sea", "year": 2001.0}
    other.holder.follow(Engine.follow_items)
    assert ids_of(other, "/v1/search?q=zanzibar&k=3")[0] == "n"
    changed = {**item, "title": "Pemba"}
    assert (
        client.post("/v1/items", json=[changed, {**changed, "title": "Mafia"}]).status_code == 200
    )
    assert client.get("/v1/items/n").json()["title"] == "Mafia"
    assert client.ask("DELETE", "/v1/items/n").status_code == 200
    assert client.ask("DELETE", "/v1/items/n").status_code == 404
    assert "n" not in ids_of(client, "/v1/search?q=mafia&k=3")


def test_attributes_of_a_user_are_replaced_and_users_counted(
    client: WireClient, other: WireClient
) -> None:
    first = {"attributes": {"country": "KR", "age": 30, "tags": ["b", "a"]}}
    assert client.ask("PUT", "/v1/users/é/1", json=first).json()["attributes"]["age"] == 30.0
    client.ask("PUT", "/v1/users/é/1", json={"attributes": {"tags": ["a", "b"]}})
    for service in (client, other):
        assert service.get("/v1/users/é/1").json()["attributes"] == {"tags": ["a", "b"]}
        assert service.get("/v1/users/nobody").json()["attributes"] == {}
    events = [{"user_id": "keen", "item_id": "i1"}] * 500
    assert client.post("/v1/events", json=events).json() == {"received": 500, "new": 500}
    (user,) = other.get("/v1/users?limit=1").json()["users"]
    assert user == {"user_id": "keen", "num_events": 500}


def test_an_erased_user_is_gone_for_all_services(client: WireClient, other: WireClient) -> None:
    late = {"user_id": "u1", "item_id": "i2", "timestamp": 1_000_000_000.0}
    client.ask("PUT", "/v1/users/u1", json={"attributes": {"country": "KR"}})
    assert history_of(other, "u1") != []
    receipt = client.ask("DELETE", "/v1/users/u1").json()
    assert (receipt["kind"], receipt["events"] > 0) == ("user", True)
    for service in (client, other):
        assert history_of(service, "u1") == []
        assert service.get("/v1/users/u1").json()["attributes"] == {}
        assert service.post("/v1/events", json=late).json() == {"received": 1, "new": 0}
    assert history_of(client, "u2") != []
    settle_threads()


def test_a_key_works_until_it_is_revoked(engine: Engine, shop: Path) -> None:
    database = Workspace.open(shop).database
    issued = issue_key("shop", ["read"])
    with closing(ApiKeys.open(database)) as keys:
        keys.add(issued)
        with closing(KeyRing(ApiKeys.open(database))) as ring:
            ring.load()
            service = WireClient(engine, Access(ring))

            def ask() -> int:
                ring.load()
                return service.get("/v1/recommend", headers=bearer(issued)).status_code

            assert ask() == 200
            assert service.get("/v1/recommend").status_code == 401
            refused = service.post(
                "/v1/events", json={"user_id": "u", "item_id": "i1"}, headers=bearer(issued)
            )
            assert refused.status_code == 403
            keys.revoke(issued.key.key_id, time.time())
            assert ask() == 401
