import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest
from processes import (
    TINY_SERVER,
    TinyService,
    children,
    connection_each,
    find_worker,
    is_free,
    is_running,
    wait_until,
)

from serendip.errors import NotTrainedError

EVERY_S = 0.02
"""Between two requests to a service that changes: often, but not all that the machine can do."""
MANY = 20_000
"""Requests after which a state that must come is given up; no test needs nearly as many."""


class Running(TinyService):
    def __init__(self, folder: Path, workers: int = 2, load_s: float = 0.0) -> None:
        self.switch, self._log = folder / "switch", folder / "log"
        options = ("--workers", str(workers), "--switch", str(self.switch))
        super().__init__(*options, load_s=load_s, log=self._log)

    @property
    def log(self) -> list[str]:
        return self._log.read_text().splitlines(keepends=True)

    def get(self, path: str) -> tuple[int, dict]:
        response, body = self.ask(path)
        return response.status, json.loads(body)

    @property
    def workers(self) -> set[int]:
        return set(children(self.process.pid))

    def wait_for_workers(self, count: int, ended: Set[int] = frozenset()) -> dict:
        """Ask until so many are ready and some have ended; every answer is a good one."""
        answers: list[dict] = []

        def are_ready() -> bool:
            is_left = bool(ended & self.workers)
            status, ready = self.get("/health/ready")
            assert status == 200
            answers.append(ready)
            return ready["workers"] == count and not ready["degraded"] and not is_left

        wait_until(are_ready, f"{count} workers", every_s=EVERY_S)
        return answers[-1]

    def wait_for_log(self, words: str) -> None:
        """Ask until a line has some words; every answer is a good one."""

        def is_logged() -> bool:
            assert self.get("/v1/search?q=film")[0] == 200
            return any(words in line for line in self.log)

        wait_until(is_logged, words, every_s=EVERY_S)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers that are ready; a test leaves two that are."""
    with Running(tmp_path_factory.mktemp("service")) as started:
        started.read_line("ready")
        yield started


@pytest.fixture
def last(tmp_path: Path) -> Iterator[Running]:
    """A service of two workers that a test may end."""
    with Running(tmp_path) as started:
        started.read_line("ready")
        yield started


def ask(connection: HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    assert response.status == 200, body
    return body


def test_it_is_ready_once_every_worker_is(tmp_path: Path) -> None:
    with Running(tmp_path, workers=3, load_s=0.5) as service:
        assert service.get("/health/live") == (200, {"status": "live"})  # it waits for the first
        service.read_line("ready")
        status, ready = service.get("/health/ready")
        assert (status, ready["workers"], ready["degraded"]) == (200, 3, False)
        assert len(service.workers) == 3


def searches_of(text: str) -> float:
    pattern = r'^serendip_request_seconds_count\{route="/v1/search"\} (\S+)'
    return sum(map(float, re.findall(pattern, text, re.MULTILINE)))


def test_connections_that_come_at_once_are_shared_out_evenly(service: Running) -> None:
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", service.port, timeout=30)))
            for _ in range(40)
        ]
        for connection in connections:
            connection.connect()
        for connection in connections:
            ask(connection, "/health/live")
        each = Counter(find_worker(service.workers, connection) for connection in connections)
    assert len(each) == 2
    assert min(each.values()) >= 15


def test_every_worker_tells_the_counts_of_all(service: Running) -> None:
    with connection_each(service.process.pid, service.port) as each:
        assert len(each) == 2
        before = [searches_of(ask(connection, "/metrics")) for connection in each.values()]
        assert before[0] == before[1]
        for number, connection in enumerate(each.values(), 1):
            for _ in range(number * 10):
                ask(connection, "/v1/search?q=film")
            ask(connection, "/health/live")  # counted after the answer, so before the next one
        texts = [ask(connection, "/metrics") for connection in each.values()]
        assert [searches_of(text) - before[0] for text in texts] == [30.0, 30.0]
        for line in ("serendip_workers 2.0", 'serendip_generation_info{generation="gen-1"} 1.0'):
            assert all(text.count(line) == 1 for text in texts)
        ready = [ask(connection, "/health/ready") for connection in each.values()]
        assert ready[0] == ready[1]


def test_a_killed_worker_is_replaced_and_its_counts_stay(service: Running) -> None:
    workers = service.workers
    with connection_each(service.process.pid, service.port) as each:
        for connection in each.values():
            before = searches_of(ask(connection, "/metrics"))
        for connection in each.values():
            for _ in range(5):
                ask(connection, "/v1/search?q=film")
            ask(connection, "/health/live")  # counted after the answer, so before the next one
        killed = min(each)
        os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: "ended with signal 9; another one starts\n" in "".join(service.log), "a line"
    )
    service.wait_for_workers(2, {killed})
    assert len(service.workers & workers) == 1
    with connection_each(service.process.pid, service.port) as each:
        for connection in each.values():
            assert searches_of(ask(connection, "/metrics")) == before + 10


def test_all_workers_killed_at_once_come_back_and_connections_wait(service: Running) -> None:
    before = service.workers
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in range(MANY):  # a connection that a dying worker had accepted is lost with it
        try:
            assert service.get("/v1/search?q=film")[0] == 200
            break
        except (ConnectionResetError, RemoteDisconnected):
            continue
    assert service.wait_for_workers(2, before)["generation"] == "gen-1"


def test_sighup_replaces_every_worker_without_a_refused_connection(service: Running) -> None:
    before = service.workers
    is_replaced = threading.Event()

    def ask_on() -> set[int]:
        """Answers while workers are replaced, and of ten requests at least."""
        answers: list[int] = []
        while not is_replaced.is_set() or len(answers) < 10:
            answers.append(service.get("/v1/search?q=film")[0])
        return set(answers)

    with ThreadPoolExecutor(2) as clients:
        answers = [clients.submit(ask_on) for _ in range(2)]
        try:
            service.process.send_signal(signal.SIGHUP)
            for _ in range(MANY):
                assert service.get("/v1/search?q=slow")[0] == 200
                if len(service.workers) == 2 and not service.workers & before:
                    break
        finally:
            is_replaced.set()
    assert [each.result() for each in answers] == [{200}, {200}]
    assert not service.workers & before
    assert service.wait_for_workers(2)["generation"] == "gen-1"


def test_a_worker_that_cannot_begin_leaves_the_earlier_ones_at_work(service: Running) -> None:
    before = service.workers
    service.switch.write_text("nothing to open.")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_log("could not begin, the earlier ones go on: exit code 4")
    assert service.wait_for_workers(2)["workers"] == 2
    assert service.workers == before
    os.kill(min(before), signal.SIGKILL)
    service.wait_for_log("ended with exit code 4; another one starts")
    assert any("nothing to open. Remove the switch." in line for line in service.log)
    assert service.get("/health/ready")[1]["degraded"]
    service.switch.unlink()

    def are_two() -> bool:
        assert service.get("/v1/search?q=film")[0] == 200
        return len(service.workers) == 2

    wait_until(are_two, "the other worker", every_s=EVERY_S)
    service.wait_for_workers(2)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_requests_of_all_workers_end(last: Running, kind: int) -> None:
    with connection_each(last.process.pid, last.port) as each:
        for connection in each.values():
            connection.request("GET", "/v1/search?q=slow")
        with connection_each(last.process.pid, last.port) as later:
            assert len(later) == 2  # both workers have read the requests before it by now
        last.process.send_signal(kind)
        responses = [connection.getresponse() for connection in each.values()]
        assert [response.status for response in responses] == [200, 200]
        assert {response.headers["connection"] for response in responses} == {"close"}
        assert last.process.wait(timeout=60) == 0
    assert is_free(last.port)


def test_no_worker_outlives_its_supervisor(last: Running) -> None:
    workers = last.workers
    last.process.kill()
    last.process.wait()
    wait_until(lambda: not any(map(is_running, workers)), "the end of all", every_s=EVERY_S)
    assert is_free(last.port)


def start_in_vain(*options: str) -> tuple[int, str]:
    """Exit code and messages of a service whose workers cannot begin."""
    command = [sys.executable, str(TINY_SERVER), "0", "--workers", "2", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stderr


def test_the_reason_why_no_worker_can_begin_is_the_error_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "switch").write_text("nothing is published.")
    code, messages = start_in_vain("--switch", str(tmp_path / "switch"))
    assert code == NotTrainedError.exit_code
    assert "nothing is published. Remove the switch." in messages
    assert "Traceback" not in messages


def test_a_worker_that_dies_before_it_is_ready_ends_the_start() -> None:
    code, messages = start_in_vain("--exit-code", "7")
    assert code == 7
    assert "a worker ended with exit code 7 before it was ready" in messages
