import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection

import pytest
from processes import TinyService, children, wait_until
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.engine.config.serve import ServeConfig
from serendip.serve.server_options import ServerOptions


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Calls that hang wait for it."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_read_that_hangs_is_answered_from_less_and_then_turns_readiness_red(
    gate: threading.Event,
) -> None:
    class Hanging(TinyEngine):
        def recommend(self, request):
            if request.text == "hang":
                assert gate.wait(30)
            return super().recommend(request)

    client = WireClient(Hanging(), options=ServerOptions(config=ServeConfig(deadline="0.2s")))
    assert client.get("/v1/search?q=hang").json()["degraded"]
    assert client.get("/v1/search?q=film").json()["degraded"]
    wait_until(lambda: client.get("/health/ready").status_code != 200, "a worker that is stuck")
    answer = client.get("/health/ready")
    assert (answer.status_code, error_of(answer)["type"]) == (503, "timeout")
    assert client.get("/health/live").status_code == 200
    gate.set()
    wait_until(lambda: client.get("/health/ready").status_code == 200, "threads that go on")
    assert not client.get("/v1/search?q=film").json()["degraded"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], TinyService]]:
    """A service over the tiny engine, once it is ready; told to end at the end."""
    with TinyService("--deadline", "0.2s", *options) as service:
        service.read_line("ready")
        yield service.process, service
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(timeout=60)


def post_and_leave(port: int, user_id: str) -> None:
    """Post an event and hang up without an answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=0.01)) as connection:
        body = json.dumps({"user_id": user_id, "item_id": "film-01"})
        with suppress(TimeoutError):
            connection.request("POST", "/v1/events", body, {"content-type": "application/json"})
            connection.getresponse()


def test_a_worker_whose_write_hangs_is_replaced_and_the_next_one_writes() -> None:
    with running("--workers", "2", "--deadline", "0.02s") as (process, service):
        before = set(children(process.pid))
        post_and_leave(service.port, "hang")
        wait_until(
            lambda: not before <= set(children(process.pid)), "the end of the worker that got it"
        )
        with closing(HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
            body = json.dumps({"user_id": "u1", "item_id": "film-01"})
            connection.request("POST", "/v1/events", body, {"content-type": "application/json"})
            assert json.load(connection.getresponse())["new"] == 1
    assert process.returncode == 0


def test_a_service_ends_although_requests_hang() -> None:
    with running() as (process, service):
        assert service.status("/v1/search?q=hang") == 200
    assert process.returncode == 0


def test_a_worker_whose_requests_hang_is_replaced() -> None:
    with running("--workers", "2") as (process, service):
        before = set(children(process.pid))

        def are_replaced() -> bool:
            with suppress(ConnectionError):  # of the worker that ends
                assert service.status("/v1/search?q=hang") in (200, 503)
            return not before & set(children(process.pid))

        wait_until(are_replaced, "the end of both workers", every_s=0.01)
        wait_until(lambda: service.status("/health/ready") == 200, "the next ones")
        assert service.status("/v1/search?q=film") == 200
    assert process.returncode == 0


def test_workers_whose_event_loop_stands_still_are_replaced() -> None:
    with running("--workers", "2", "--silence", "10") as (process, service):
        stopped, frozen = children(process.pid)
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(ConnectionError):  # of the worker that is killed
            service.status("/v1/search?q=freeze")
        wait_until(lambda: not {stopped, frozen} & set(children(process.pid)), "the end of both")
        wait_until(lambda: service.status("/health/ready") == 200, "a service that is whole")
        assert service.status("/v1/search?q=film") == 200
        assert len(children(process.pid)) == 2
    assert process.returncode == 0
