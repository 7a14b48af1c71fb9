"""The real command on a real generation: start-up, acknowledged events, what is not imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from serendip.data.database import Database


@contextmanager
def service(folder: Path) -> Iterator[tuple[HTTPConnection, subprocess.Popen[str]]]:
    """``serendip serve`` on a free port, once it is ready."""
    command = [sys.executable, "-m", "serendip", "serve", "-w", os.fspath(folder), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        line = ""
        while not line.startswith("Ready:"):
            line = process.stdout.readline()
            assert line, "the service ended before it was ready"
        address = urlsplit(line.split()[1])
        connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
        try:
            yield connection, process
        finally:
            connection.close()
            process.send_signal(signal.SIGTERM)


def ask(connection: HTTPConnection, method: str, path: str, body: object = None):
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


def test_acknowledged_events_survive_kill_9_and_sigterm_ends_with_0(shop: Path) -> None:
    with service(shop) as (connection, process):
        for number in range(20):
            event = {"user_id": "killed", "item_id": f"i{number}", "action": "like"}
            status, answer = ask(connection, "POST", "/v1/events", event)
            assert status in (200, 201, 202)
            assert answer["new"] == 1
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with service(shop) as (connection, process):
        status, answer = ask(connection, "GET", "/v1/users/killed/history?limit=100")
        assert status == 200
        assert len(answer["events"]) == 20
        home = ask(connection, "GET", "/v1/recommend?surface=home&user_id=killed&k=100")[1]
        shown = {item["item_id"] for item in home["items"]}
        assert shown
        assert not shown & {f"i{number}" for number in range(20)}
    assert process.returncode == 0


def test_another_process_that_holds_the_database_keeps_no_read_waiting(shop: Path) -> None:
    event = {"user_id": "waits", "item_id": "i1", "action": "like"}
    with service(shop) as (connection, _):
        posting = [HTTPConnection(connection.host, connection.port, timeout=30) for _ in range(4)]
        with closing(Database(shop / "serendip.db")) as other, other.write():
            for one in posting:
                one.request("POST", "/v1/events", json.dumps(event))
            for path in ("/v1/search?q=horror", "/v1/recommend?surface=home&user_id=u1"):
                assert ask(connection, "GET", path)[0] == 200
            assert ask(connection, "GET", "/health/ready") == (
                200,
                {"status": "ready", "generation": "gen-1"},
            )
            for path in ("/", "/metrics"):
                connection.request("GET", path)
                answer = connection.getresponse()
                assert answer.status == 200
                answer.read()
            for one in posting:
                answer = one.getresponse()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                error = json.loads(answer.read())["error"]
                assert error["type"] == "busy"
                assert str(shop) not in json.dumps(error)
                one.close()
        assert ask(connection, "POST", "/v1/events", event) == (200, {"received": 1, "new": 1})
        assert len(ask(connection, "GET", "/v1/users/waits/history")[1]["events"]) == 1


def test_a_generation_published_meanwhile_takes_over(shop: Path) -> None:
    with service(shop) as (connection, _):
        first = ask(connection, "GET", "/v1/recommend?surface=home")[1]["generation"]
        done = subprocess.run(
            [sys.executable, "-m", "serendip", "train", "-w", os.fspath(shop), "--seed", "1"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        seen = first
        for _ in range(20_000):  # the watcher looks every second; requests go on meanwhile
            status, answer = ask(connection, "GET", "/v1/recommend?surface=home&k=1")
            assert status == 200
            seen = answer["generation"]
            if seen != first:
                break
    assert (first, seen) == ("gen-1", "gen-2")


def test_the_serving_process_imports_nothing_that_trains(shop: Path) -> None:
    code = f"""
import sys
from serendip.engine.engine import Engine
from serendip.serve.app import build_app
from serendip.serve.state import EngineHolder
engine = Engine.open({os.fspath(shop)!r})
holder = EngineHolder()
holder.swap(engine)
build_app(holder)
engine.search("horror tale", "u1")
engine.recommend("home", "u1")
engine.similar("i1")
engine.explain("i1", "home", "u1")
from serendip.data.item import Item
engine.add_items([Item("x", "A new one")])
trains = {{"torch", "lightgbm", "sklearn", "pandas", "duckdb", "faiss"}}
print(sorted(trains & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
