import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import uvicorn
from processes import TinyService, wait_until

from serendip.serve.limits import FILES_BESIDE, MAX_BODY_BYTES, MAX_HEAD_BYTES
from serendip.serve.server import _Connection

TIMEOUT_S = 1.0


class Server(TinyService):
    """A server whose clients have one second; its messages are in ``log``."""

    def __init__(self, folder: Path, files: int = 1_024, options: Sequence[str] = ()) -> None:
        self.log = folder / "log"
        options = ("--receive-timeout", f"{TIMEOUT_S}s", *options)
        super().__init__(*options, log=self.log, prefix=("prlimit", f"--nofile={files}"))
        self.read_line("ready")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str) -> tuple[int, bytes]:
        response, body = self.ask(path)
        return response.status, body

    def computed(self) -> int:
        lines = self.get("/metrics")[1].decode().splitlines()
        return int(float(next(x for x in lines if 'name="slow"' in x).rsplit(" ", 1)[1]))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as started:
        yield started


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:  # it closed while we were sending
        pass
    return answer


BROKEN = {
    "nonsense": b"nonsense\r\n\r\n",
    "no such method": b"BREWING / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two lengths": b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "a length below 0": b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: -5\r\n\r\n",
    "a broken address": b"GET http://:b/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a broken chunk": b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_parser_refuses_gets_400_and_its_connection_ends(server, name):
    with server.connect() as connection:
        connection.sendall(BROKEN[name])
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    assert server.get("/health/live")[0] == 200


@pytest.mark.parametrize("in_one_piece", [True, False])
@pytest.mark.parametrize("part", ["header", "address", "headers", "unfinished header"])
def test_a_head_above_the_limit_ends_its_connection(server, part, in_one_piece):
    size = MAX_HEAD_BYTES + 1000
    head = {
        "header": b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * size,
        "address": b"GET /health/live?q=" + b"y" * size + b" HTTP/1.1\r\nHost: localhost",
        "headers": b"GET /health/live HTTP/1.1\r\nHost: localhost" + b"\r\na: b" * (size // 6),
        "unfinished header": b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * size,
    }[part]
    whole = head if part == "unfinished header" else head + b"\r\n\r\n"
    step = len(whole) if in_one_piece else 8192
    with server.connect() as connection:
        try:
            for start in range(0, len(whole), step):
                connection.sendall(whole[start : start + step])
        except (BrokenPipeError, ConnectionResetError):  # ended before its end
            pass
        assert read_all(connection) == b""
    assert server.get("/health/live")[0] == 200


def test_a_head_just_below_the_limit_is_accepted(server):
    start = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
    with server.connect() as connection:
        connection.sendall(start + b"y" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


CHUNKED = (
    b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\n \r\n0\r\n"
)


@pytest.mark.parametrize("trailers", [b"a: b\r\n" * 2_000, b"y" * 12_000])
def test_what_follows_a_body_has_the_limit_of_a_head(server, trailers):
    sent = 0
    with server.connect() as connection:
        connection.sendall(CHUNKED + b"x: ")
        with pytest.raises(OSError):
            while sent < 200 * MAX_HEAD_BYTES:
                connection.sendall(trailers)
                sent += len(trailers)
    assert sent > MAX_HEAD_BYTES


def test_headers_after_a_body_are_dropped_and_large_bodies_in_chunks_are_read(server):
    head = CHUNKED.partition(b"1\r\n \r\n")[0].replace(b"search", b"events")
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    with server.connect() as connection:
        connection.sendall(head + chunk * 100 + b"0\r\nHost: other\r\n\r\n" + last)
        answer = read_all(connection)
    first, _, second = answer.removeprefix(b"HTTP/1.1 ").partition(b"HTTP/1.1 ")
    assert first.startswith(b"422 ")
    assert b"the body is not JSON" in first  # that is, it holds only blanks
    assert second.startswith(b"200 ")


def test_no_header_behind_a_body_reaches_the_application():
    async def tell_headers(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        names = b" ".join(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": names})

    protocol = partial(_Connection, 10.0, 100)
    config = uvicorn.Config(tell_headers, http=protocol, lifespan="off", log_config=None)
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=30) as connection:
            head = CHUNKED.removesuffix(b"0\r\n").replace(b"Host", b"Connection: close\r\nHost")
            connection.sendall(head + b"0\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
            assert b"\r\nconnection host transfer-encoding\r\n" in read_all(connection)
    finally:
        server.should_exit = True
        thread.join()


SLOW = {
    "head": [b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"],
    "head in drops": [b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX:", *[b"y"] * 400],
    "body": [b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"],
    "body in drops": [
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{",
        *[b" "] * 400,
    ],
}


@pytest.mark.parametrize("name", SLOW)
def test_the_connection_of_a_client_that_sends_too_slowly_ends(server, name):
    start = time.monotonic()
    with server.connect() as connection, selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        for part in SLOW[name]:
            connection.sendall(part)
            if selector.select(0.05):
                break
        assert read_all(connection) == b""
    assert TIMEOUT_S <= time.monotonic() - start < TIMEOUT_S + 10


def test_300_slow_clients_are_gone_in_time_and_others_are_answered(server):
    slow = [server.connect() for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        start = time.monotonic()
        assert server.get("/v1/search?q=film")[0] == 200
        answers = [read_all(connection) for connection in slow]
        assert time.monotonic() - start < TIMEOUT_S + 20
    finally:
        for connection in slow:
            connection.close()
    assert answers == [b""] * 300


def test_a_client_that_hangs_up_behind_a_request_leaves_no_traceback(server):
    good = b"GET /v1/search?q=slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for broken in (b"nonsense\r\n\r\n", BROKEN["a broken chunk"], b"\r\n" * 150_000):
        with server.connect() as connection:
            connection.sendall(good + broken)
            read_all(connection)
        assert server.get("/v1/search?q=slow")[0] in (200, 429)
    assert "Traceback" not in server.log.read_text()


def test_a_body_that_stalls_after_its_answer_gets_no_second_one(server):
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_nothing_is_computed_for_clients_that_hung_up_and_no_traceback_tells_of_them(tmp_path):
    request = b"GET /v1/search?q=slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    half = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"
    with Server(tmp_path) as server:
        for _ in range(60):
            with server.connect() as connection:
                connection.sendall(request)
        for _ in range(10):
            with server.connect() as connection:
                connection.sendall(half)
        assert server.get("/v1/search?q=film")[0] in (200, 429)
        wait_until(lambda: server.get("/v1/search?q=film")[0] == 200, "an answer")
        assert 0 < server.computed() < 20
        log = server.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_nobody_holds_all_connections(tmp_path: Path) -> None:
    allowed, request = 40, b"GET /v1/search?q=slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Server(tmp_path, files=FILES_BESIDE + allowed) as server, ExitStack() as stack:
        computed = stack.enter_context(server.connect())
        computed.sendall(request)
        wait_until(lambda: server.computed() == 1, "a request that is computed")
        greedy = [stack.enter_context(server.connect()) for _ in range(3 * allowed)]
        assert server.get("/health/live")[0] == 200
        assert read_answer(computed)[0] == b"HTTP/1.1 200 OK"
        assert greedy[0].recv(1) == b""  # the one that waits for longest makes room


def test_a_body_that_is_too_long_is_refused_before_it_comes(server: Server) -> None:
    for length in (MAX_BODY_BYTES + 1, 10**16):
        head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        start = time.monotonic()
        with server.connect() as connection:
            connection.sendall(head.encode())
            assert read_answer(connection)[0].startswith(b"HTTP/1.1 413 ")
        assert time.monotonic() - start < TIMEOUT_S


def read_answer(connection: socket.socket) -> tuple[bytes, dict[str, str], bytes]:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.decode().lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return first, headers, body


def find_answered(connections: list[socket.socket]) -> list[socket.socket]:
    """Those of some connections that have an answer within a moment, whatever their numbers."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        return [key.data for key, _ in selector.select(0.3)]


def test_reads_above_what_may_wait_are_refused_and_their_connection_stays_open(tmp_path):
    def ask(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    with Server(tmp_path, options=("--waiting", "1")) as server, ExitStack() as stack:
        first, connections = b"", list[socket.socket]()
        while b" 429 " not in first:  # while there is a thread or a place for one of them
            connections.append(stack.enter_context(server.connect()))
            connections[-1].sendall(ask("/v1/search?q=hang"))
            for connection in find_answered(connections):
                first, headers, body = read_answer(connection)
                connections.remove(connection)
                if b" 429 " in first:
                    break
        error = json.loads(body)["error"]
        assert (error["type"], error["request_id"]) == ("overload", headers["x-request-id"])
        assert (headers["retry-after"], headers["x-frame-options"]) == ("1", "deny")
        assert "connection" not in headers
        connection.sendall(ask("/health/live"))
        assert read_answer(connection)[0] == b"HTTP/1.1 200 OK"
        metrics = server.get("/metrics")[1].decode()
    assert read_count(metrics, 'serendip_request_seconds_count{route="/v1/search"}') >= 1
    assert read_count(metrics, 'serendip_responses_total{status="429"}') >= 1


def read_count(metrics: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))
