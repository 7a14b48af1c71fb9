import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

import pytest
from processes import TinyService, connection_each, wait_until
from wire_client import bearer, open_keys

from serendip.data.api_key import IssuedKey, issue_key
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.errors import ConfigError
from serendip.serve.limits import MAX_UNREAD_S
from serendip.serve.server_options import ServerOptions


def test_a_request_that_comes_while_it_is_loading_waits_and_is_answered() -> None:
    started = time.monotonic()
    with TinyService(load_s=1.0) as server:
        assert json.loads(server.ask("/health/live")[1]) == {"status": "live"}
        assert time.monotonic() - started >= 1.0
        server.read_line("ready")
        assert server.status("/health/ready") == 200


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_end_and_exits_with_0(kind):
    with TinyService() as server:
        server.read_line("ready")
        answers: list[int] = []
        connections = []
        for text in ("slow", *["film"] * 63):  # the first holds up the others for half a second
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("GET", f"/v1/search?q={text}")
            connections.append(connection)
        assert server.status("/health/live") == 200  # the 64 before it are in by now
        server.process.send_signal(kind)
        for connection in connections:
            answers.append(connection.getresponse().status)
            connection.close()
        assert server.process.wait(timeout=15) == 0
        assert answers == [200] * 64
        with pytest.raises(OSError):
            server.status("/health/live")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_without_a_key_it_does_not_start_where_others_reach_it(host, tmp_path):
    for keys in (None, lambda: open_keys(tmp_path)):
        with pytest.raises(ConfigError, match=r"no key.*serendip keys create"):
            ServerOptions(host, 0, open_keys=keys).listen()


def test_a_revoked_key_is_no_key_to_start_with(tmp_path):
    with closing(open_keys(tmp_path)) as keys:
        issued = issue_key("", ["read"])
        keys.add(issued)
        options = ServerOptions("0.0.0.0", 0, open_keys=lambda: open_keys(tmp_path))
        options.listen().close()
        keys.revoke(issued.key.key_id, time.time())
        with pytest.raises(ConfigError, match="no key"):
            options.listen()


def test_an_answer_that_nobody_reads_ends_its_connection():
    with closing(ServerOptions(port=0).listen()) as listener:
        milliseconds = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert milliseconds == MAX_UNREAD_S * 1000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            connection.settimeout(30)
            with connection, pytest.raises(TimeoutError) as ended:
                while True:
                    connection.sendall(b"x" * 65536)
    assert ended.value.errno == errno.ETIMEDOUT


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)):
            ServerOptions(port=port).listen()


def test_listening_needs_no_framework():
    code = (
        "import sys; import serendip.serve.server; "
        "print([name for name in ('fastapi', 'jinja2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Keyed(TinyService):
    def __init__(self, folder: Path, *options: str, has_key: bool = True) -> None:
        self.keys: ApiKeys = open_keys(folder)
        self.key: IssuedKey = issue_key("", ["read"])
        if has_key:
            self.keys.add(self.key)
        super().__init__("--keys", str(folder / "serendip.db"), *options)
        self.read_line("ready")

    def __exit__(self, *error: object) -> None:
        self.keys.close()
        super().__exit__(*error)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A service that listens on all addresses, behind a trusted proxy on this machine."""
    folder = tmp_path_factory.mktemp("public")
    options = ("--host", "0.0.0.0", "--allowed-host", "shop.example.com")
    with Keyed(folder, *options, "--trusted-proxy", "127.0.0.0/8") as service:
        yield service


def status_of(connection: HTTPConnection, headers: dict[str, str]) -> int:
    connection.request("GET", "/v1/search?q=film", headers=headers)
    response = connection.getresponse()
    response.read()
    return response.status


def test_every_worker_refuses_a_revoked_key_within_a_second(tmp_path: Path) -> None:
    with (
        Keyed(tmp_path, "--workers", "2") as service,
        connection_each(service.process.pid, service.port) as workers,
    ):
        headers = bearer(service.key)
        assert [status_of(one, {}) for one in workers.values()] == [401, 401]
        assert [status_of(one, headers) for one in workers.values()] == [200, 200]
        new = issue_key("", ["read"])
        service.keys.add(new)
        service.keys.revoke(service.key.key.key_id, time.time())
        since = time.monotonic()
        for worker in workers.values():
            wait_until(lambda one=worker: status_of(one, headers) == 401, "the refusal")
            assert status_of(worker, bearer(new)) == 200
        assert time.monotonic() - since < 3.0  # one second alone; other tests may run beside it


def test_strangers_send_no_more_to_two_workers_than_to_one(tmp_path: Path) -> None:
    with (
        Keyed(tmp_path, "--workers", "2") as service,
        connection_each(service.process.pid, service.port) as workers,
    ):
        turns = cycle(workers.values())

        def send(count: int, action: str, item: str, cookie: str = "") -> int | None:
            connection = next(turns)
            if not cookie:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                cookie = response.headers["set-cookie"].partition(";")[0]
            own = cookie.partition("=")[2].partition(".")[0]
            rows = [{"user_id": own, "item_id": item, "action": action}] * count
            connection.request("POST", "/v1/events", json.dumps(rows), {"cookie": cookie})
            response = connection.getresponse()
            body = json.loads(response.read())
            return body["new"] if response.status == 200 else None

        cookie = service.ask("/")[0].headers["set-cookie"].partition(";")[0]
        assert [send(1, "like", "f1", cookie) for _ in range(4)] == [1, 0, 0, 0]
        assert [send(8, "impression", "f1", cookie) for _ in range(4)] == [8, 8, 4, 0]
        assert sum(send(1, "like", "f2") or 0 for _ in range(24)) == 20
        for _ in range(2):
            assert send(100, "impression", "f3") == 20
        assert send(100, "impression", "f3") is None  # 300 a minute of one address


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:80", 200),
        ("shop.example.com", 200),
        ("SHOP.example.com:443", 200),
        ("10.1.2.3:8080", 200),
        ("[fd00::1]:8080", 200),
        ("example.com", 403),
        ("a.shop.example.com", 403),
        ("shop.example.com.evil.example", 403),
        ("999.1.2.3", 403),
        ("", 403),
    ],
)
def test_names_must_be_allowed_and_addresses_cannot_be_forged(public, host, status):
    response, body = public.ask("/v1/search?q=film", {"host": host, **bearer(public.key)})
    assert response.status == status
    if status == 403:
        assert "allowed_hosts" in json.loads(body)["error"]["hint"]


def test_a_refused_client_can_send_its_whole_body_and_read_the_answer(public):
    with closing(HTTPConnection("127.0.0.1", public.port, timeout=30)) as connection:
        for _ in range(2):  # over one connection
            connection.request("POST", "/v1/items", b"[" + b" " * 4_000_000 + b"]")
            response = connection.getresponse()
            assert response.status == 401
            response.read()


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8"])
def test_a_proxy_of_ipv4_is_believed_on_a_socket_for_both_versions(tmp_path, proxy):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Keyed(tmp_path, "--host", "::", "--trusted-proxy", proxy) as service:
        forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"}
        assert "Secure" in service.ask("/", forwarded)[0].headers["set-cookie"]
        with closing(HTTPConnection("::1", service.port, timeout=30)) as connection:
            connection.request("GET", "/", headers=forwarded)
            assert "Secure" not in connection.getresponse().headers["set-cookie"]
