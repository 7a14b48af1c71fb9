import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres_server import PostgresServer, copy_to_server
from processes import wait_until
from stored_files import copy_to_serve, mounted, remount
from wire_client import WireClient, error_of

from serendip.data.store.postgres import REST_S
from serendip.engine.engine import Engine

OF_A_USER = (
    "/v1/recommend?user_id=u1&limit=5",
    "/v1/recommend?user_id=u2&limit=5",
    "/v1/search?q=horror+tale&user_id=u1&limit=5",
    "/v1/items/i1/similar?user_id=u1&limit=5",
)
OF_NOBODY = (
    "/v1/recommend?limit=5",
    "/v1/search?q=horror+tale&limit=5",
    "/v1/items/i1/similar?limit=5",
)
IN_MEMORY = ("/v1/items/i1", "/v1/suggest?q=ho", "/health/live", "/health/ready")
FROM_THE_STORE = ("/v1/users/u1/history", "/v1/explain?user_id=u1&item_id=i1")
PAGES = ("/", "/search?q=horror")


@pytest.fixture
def client(
    postgres_server: PostgresServer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WireClient]:
    url = postgres_server.empty_url()
    copy_to_server(shop, url)
    monkeypatch.setenv("SERENDIP_STORE__URL", f"{url}&connect_timeout=2")
    with closing(Engine.open(shop)) as engine:
        yield WireClient(engine)


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def silent(server: PostgresServer) -> Iterator[socket.socket]:
    """In place of the server, in the block, something that takes connections and says nothing."""
    with stopped(server), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(server.socket))
        try:
            listener.listen(50)
            listener.setblocking(False)
            yield listener
        finally:
            server.socket.unlink()


def items_of(client: WireClient, path: str) -> tuple[list[str], list[str]]:
    answer = client.get(path)
    assert answer.status_code == 200, path
    body: dict[str, Any] = answer.json()
    return [item["item_id"] for item in body["items"]], body["degraded"]


def post_choice(client: WireClient) -> httpx.Response:
    event = {"user_id": "u1", "item_id": "i2", "event_id": "choice"}
    return client.post("/v1/events", json=event)


def test_items_are_answered_from_less_while_the_database_is_away(client, postgres_server):
    hidden = items_of(client, OF_A_USER[0])[0][0]
    client.post("/v1/events", json={"user_id": "u1", "item_id": hidden, "action": "hide"})
    before = {path: items_of(client, path) for path in OF_A_USER + OF_NOBODY}
    with stopped(postgres_server):
        for path in OF_NOBODY:  # needs nothing of the database
            assert items_of(client, path) == before[path]
        for path in OF_A_USER:
            ids, degraded = items_of(client, path)
            assert len(ids) == 5
            assert degraded == ["personal"], path
        assert hidden not in items_of(client, "/v1/recommend?user_id=u1&limit=50")[0]
        assert [client.get(path).status_code for path in IN_MEMORY] == [200] * len(IN_MEMORY)
    for path in OF_A_USER:
        assert items_of(client, path)[1] == []
    assert items_of(client, OF_NOBODY[1]) == before[OF_NOBODY[1]]


def test_what_must_read_or_write_gets_503_until_the_database_is_back(client, postgres_server):
    with stopped(postgres_server):
        for path in FROM_THE_STORE:
            answer = client.get(path)
            assert (answer.status_code, error_of(answer)["type"]) == (503, "storage")
        assert [client.get(path).status_code for path in PAGES] == [503, 503]
        for answer in (post_choice(client), client.ask("DELETE", "/v1/items/i9")):
            assert (answer.status_code, error_of(answer)["type"]) == (503, "storage")
            assert "Nothing was stored." in error_of(answer)["message"]
    paths = FROM_THE_STORE + PAGES
    assert [client.get(path).status_code for path in paths] == [200] * len(paths)
    assert post_choice(client).json() == {"received": 1, "new": 1}
    assert client.get(FROM_THE_STORE[0]).json()["events"][0]["item_id"] == "i2"
    assert client.ask("DELETE", "/v1/items/i9").status_code == 200


def test_of_a_server_that_is_silent_hardly_any_request_waits(client, postgres_server):
    for path in OF_A_USER:
        items_of(client, path)
    began = time.monotonic()
    with silent(postgres_server) as listener:
        for _ in range(5):
            for path in OF_A_USER:
                ids, degraded = items_of(client, path)
                assert len(ids) == 5
                assert degraded == ["personal"], path
            assert [items_of(client, path)[1] for path in OF_NOBODY] == [[]] * len(OF_NOBODY)
        assert not client.gate.is_hung()
        attempts = 0
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                attempts += 1
        assert 1 <= attempts <= 2 + (time.monotonic() - began) / REST_S  # if all waited, 40
    wait_until(lambda: not items_of(client, OF_A_USER[0])[1], "the database", every_s=0.1)


def test_on_a_read_only_disk_reads_are_answered_and_writes_get_503(
    trained_folder: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as folder:
        copy_to_serve(trained_folder, folder)
        remount(folder, "ro")
        with closing(Engine.open(folder)) as engine:
            client = WireClient(engine)
            reads = ("/v1/recommend?user_id=u1", "/v1/search?q=horror", "/v1/items/i1", "/?user=u1")
            writes = (
                ("POST", "/v1/events", {"user_id": "u1", "item_id": "i1"}),
                ("POST", "/v1/items", [{"item_id": "new", "title": "A new one"}]),
                ("DELETE", "/v1/items/i1", None),
                ("DELETE", "/v1/users/u1", None),
            )
            for _ in range(2):
                for method, path, body in writes:
                    refused = client.ask(method, path, json=body)
                    assert (refused.status_code, error_of(refused)["type"]) == (503, "storage")
                for path in reads:
                    assert client.get(path).status_code == 200, path
            client.holder.check_storage()
            ready = client.get("/health/ready")
            assert ready.status_code == 200
            assert "read-only" in ready.json()["storage_problem"]
            assert "serendip_takes_writes 0.0" in client.get("/metrics").text
            assert client.get("/v1/items/i1").json()["item_id"] == "i1"
