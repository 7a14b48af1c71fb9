"""The real server in a process of its own: start, drain, raw sockets, exit."""

from __future__ import annotations

import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from keyed_service import open_keys
from processes import TinyService
from tiny_engine import TinyEngine

from serendip.data.api_key import issue_key
from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError
from serendip.serve.engine_holder import PublishedGenerations
from serendip.serve.limits import MAX_UNREAD_S
from serendip.serve.server import run
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
    for options in (
        ServerOptions(host, 0),
        ServerOptions(host, 0, open_keys=lambda: open_keys(tmp_path)),
    ):
        with pytest.raises(ConfigError, match=r"no key.*serendip keys create"):
            run(PublishedGenerations(TinyEngine), options)


def test_a_revoked_key_is_no_key_to_start_with(tmp_path):
    with closing(open_keys(tmp_path)) as keys:
        issued = issue_key("", ["read"])
        keys.add(issued)
        options = ServerOptions("0.0.0.0", 0, open_keys=lambda: open_keys(tmp_path))
        options.listen().close()
        keys.revoke(issued.key.key_id, time.time())
        with pytest.raises(ConfigError, match="no key"):
            options.listen()


def test_without_a_key_no_name_is_allowed(tmp_path):
    options = ServerOptions(port=0, config=ServeConfig(allowed_hosts=("shop.example.com",)))
    with pytest.raises(ConfigError, match=r"shop\.example\.com"):
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
            run(PublishedGenerations(TinyEngine), ServerOptions(port=port))


def test_listening_needs_no_framework():
    code = (
        "import sys; import serendip.serve.server; "
        "print([name for name in ('fastapi', 'jinja2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
