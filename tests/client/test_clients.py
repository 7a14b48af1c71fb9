import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from processes import serving

from serendip.client import ApiError, AsyncClient, Client, clients

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide" / "clients.md"
NEW = [
    {"item_id": f"new/{number}", "title": f"Velvet Lamp {number}", "attributes": {"price": number}}
    for number in range(1, 4)
]
"""Items whose ids need escapes in a path."""


@pytest.fixture(scope="module")
def folder(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("client") / "shop"))


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder) as (client, _):
        yield f"http://127.0.0.1:{client.connection.port}"


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers requests with these statuses, 0 = with none, then 200; their bodies."""
    left, bodies = list(statuses), list[bytes]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            status = left.pop(0) if left else 200
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            answer = b'{"items": []}' if status == 200 else b"<h1>a proxy says no</h1>"
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *parts: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_one_request_has_what_a_card_shows_and_items_change(address: str) -> None:
    with Client(address) as client:
        assert client.add_items(NEW)["new"] == 3
        shown = client.search(q="velvet lamp", fields=["price"], facet=["price"], limit=2)
        assert shown["total"] >= 3
        assert shown["facets"]["price"] == {"values": {}, "min": 1.0, "max": 3.0}
        more = client.search(q="velvet lamp", fields=["price"], cursor=shown["cursor"], limit=1)
        cards = [*shown["items"], *more["items"]]
        assert sorted(card["attributes"]["price"] for card in cards) == [1.0, 2.0, 3.0]
        assert client.change_item("new/1", attributes={"price": 9})["attributes"] == {"price": 9.0}
        assert client.get_item("new/1")["title"] == "Velvet Lamp 1"
        found = client.get_items(item_ids=["new/2", "nothing"])
        assert [[item["item_id"] for item in found["items"]], found["unknown"]] == [
            ["new/2"],
            ["nothing"],
        ]
        assert client.similar("i7", limit=3)["surface"] == "similar"
        assert client.recommend(surface="home", user_id="u1")["items"][0]["reason"]
        assert client.suggest(q="velvet")["suggestions"]
        assert client.explain(item_id="i7", user_id="u1")["item_id"] == "i7"
        assert client.list_users(limit=2)["users"][1]["num_events"] > 0
        assert client.delete_item("new/3")["deleted"] is True


def test_the_catalogue_comes_whole_from_pages(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "PAGE", 7)
    with Client(address) as client:
        ids = [item["item_id"] for item in client.all_items()]
    assert len(ids) == len(set(ids)) >= 60


def test_the_client_without_waiting_does_the_same(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "PAGE", 25)

    async def ask() -> None:
        async with AsyncClient(address) as client:
            found = await asyncio.gather(*(client.similar(f"i{number}") for number in range(8)))
            assert all(answer["items"] for answer in found)
            assert len([item["item_id"] async for item in client.all_items()]) >= 60
            client.record(user_id="async", item_id="i7", action="like")
            assert await client.flush() == 0
            assert (await client.get_history("async"))["events"][0]["item_id"] == "i7"
            with pytest.raises(ApiError, match="'nothing' is not in the catalogue"):
                await client.get_item("nothing")

    asyncio.run(ask())


def test_an_error_says_what_the_service_says(address: str) -> None:
    with Client(address) as client:
        with pytest.raises(ApiError) as caught:
            client.search(q="x", filter=["price>>3"])
        assert (caught.value.status, caught.value.type) == (422, "data")
        assert re.fullmatch("[0-9a-f]{16}", caught.value.request_id)
        with pytest.raises(TypeError, match="get_item takes by position: item_id"):
            client.get_item()  # type: ignore[call-arg]


def test_refusals_for_now_and_lost_connections_are_tried_again() -> None:
    with answering(503, 0, 429) as (address, bodies), Client(address) as client:
        assert client.search(q="x") == {"items": []}
    assert bodies == [b'{"q":"x"}'] * 4


def test_what_no_retry_helps_is_an_error_at_once_or_at_last() -> None:
    with answering(502, 503, 503) as (address, bodies), Client(address, retries=1) as client:
        for status in (502, 503):
            with pytest.raises(ApiError, match="a proxy says no") as caught:
                client.search(q="x")
            assert (caught.value.status, caught.value.type) == (status, "proxy")
        assert len(bodies) == 3
    with Client(address, retries=1) as client, pytest.raises(ApiError, match="serve") as caught:
        client.search(q="x")
    assert (caught.value.status, caught.value.type) == (0, "unreachable")


def test_recorded_events_are_stored_once_though_an_invalid_one_is_among_them(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(address) as client:
        for number in range(250):
            client.record(user_id="recorder", item_id=f"i{number % 50}", action="click")
        client.record(user_id="recorder", item_id="")
        client.record(user_id="recorder", item_id="i51", value="much")  # type: ignore[arg-type]
        client.record(user_id="recorder", item_id="i52", event_id="mine")
        assert client.flush() == 0
        client.add_events([{"user_id": "recorder", "item_id": "i52", "event_id": "mine"}])
        events = client.get_history("recorder", limit=1000)["events"]
    assert len(events) == 251
    assert sum("it was refused" in record.message for record in caplog.records) == 2


def test_events_wait_for_a_service_that_is_away_and_come_once() -> None:
    with answering(503, 0, 502, 503) as (address, bodies), Client(address, retries=0) as client:
        client.record(user_id="u", item_id="i1")
        assert client.flush() == 0
    assert len(bodies) == 5
    assert len({re.search(rb'"event_id":"(\w+)"', body)[1] for body in bodies}) == 1


def test_the_end_of_a_process_sends_what_was_recorded(address: str) -> None:
    code = f"""
from serendip.client import Client
Client({address!r}).record(user_id="last-words", item_id="i3")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with Client(address) as client:
        assert len(client.get_history("last-words")["events"]) == 1


def test_events_of_a_killed_service_are_stored_by_the_next_one(
    folder: Path, tmp_path: Path
) -> None:
    shop = Path(shutil.copytree(folder, tmp_path / "shop"))
    with serving(shop) as (first, process):
        port = first.connection.port
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Client(f"http://127.0.0.1:{port}", retries=0) as client:
        client.record(user_id="patient", item_id="i3")
        assert client.flush(timeout_s=0.2) == 1
        with serving(shop, "--port", str(port)):
            assert client.flush(timeout_s=30) == 0
            assert len(client.get_history("patient")["events"]) == 1


def test_the_client_imports_nothing_of_the_engine() -> None:
    code = "import sys, serendip.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert names.isdisjoint({"numpy", "scipy", "pydantic", "fastapi", "duckdb", "tantivy"})
    own = {name for name in done.stdout.split() if name.startswith("serendip.")}
    assert {name for name in own if not name.startswith("serendip.client")} == set()


def test_what_the_clients_know_of_the_api_is_what_the_service_says() -> None:
    command = [sys.executable, os.fspath(ROOT / "dev" / "client_types.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LAMP = {
    "item_id": "lamp-7",
    "title": "Brass Lamp",
    "attributes": {"brand": "Acme", "price": 21, "image": "lamp.jpg", "url": "/7", "badge": "new"},
}


@pytest.mark.parametrize(("language", "program"), [("python", sys.executable), ("ts", "node")])
def test_the_lines_of_the_guide_do_what_they_say(
    address: str, language: str, program: str, tmp_path: Path
) -> None:
    if (runner := shutil.which(program)) is None:
        pytest.skip(f"{program} is not installed")
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    script = tmp_path / f"guide.{'py' if language == 'python' else 'mjs'}"
    built = (ROOT / "clients" / "typescript" / "lib" / "serendip.js").as_uri()
    code = code.replace("http://127.0.0.1:8080", address).replace("./serendip.js", built)
    if language == "ts":
        code += "await client.flush();\n"
    script.write_text(code)
    with Client(address) as client:
        client.add_items([LAMP])
        before = len(client.get_history("me")["events"])
        done = subprocess.run([runner, script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Brass Lamp 21")
        assert client.get_item("lamp-7")["attributes"] == {
            **{name: LAMP["attributes"][name] for name in ("brand", "image", "url")},
            "price": 19.5,
        }
        assert len(client.get_history("me")["events"]) == before + 1
