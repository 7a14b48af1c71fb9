import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from processes import Client, wait_until
from ray_nodes import free_port, has_ray_serve, prepare_ray
from test_real_service import publish_copy

from serendip.runtime.executor_factory import secure_ray
from serendip_bench.processes import list_processes

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not has_ray_serve(), reason="the extra ray-serve is not installed"),
]

OFTEN = 30
"""Requests after which both replicas have almost surely been asked."""


def find_replicas() -> list[int]:
    found = []
    for process in list_processes(os.getpid())[1:]:
        with suppress(OSError):  # it has ended in between
            command = Path(f"/proc/{process}/cmdline").read_bytes()
            if command.startswith(b"ray::ServeReplica:serendip"):
                found.append(process)
    return found


@contextmanager
def ray_service(shop: Path, port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    words = ["-w", os.fspath(shop), "--port", str(port), "--engine", "ray", *options]
    command = [sys.executable, "-m", "serendip", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            is_ready = any(line.startswith("Ready:") for line in process.stdout)
            assert is_ready, "the service ended before it was ready"
            yield process
        finally:
            process.terminate()


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        return Client(connection).ask(method, path, body)


def test_two_replicas_answer_as_one_service_until_it_is_ended(shop: Path) -> None:
    port = free_port()
    with ray_service(shop, port, "--replicas", "2") as process:
        assert len(find_replicas()) == 2

        def generations() -> set[str]:
            asked = (call(port, "GET", "/health/ready") for _ in range(OFTEN))
            return {answer["generation"] for _, answer in asked}

        assert generations() == {"gen-1"}
        item = {"item_id": "posted", "title": "A zebra of its own"}
        assert call(port, "POST", "/v1/items", item)[0] == 200

        def statuses() -> set[int]:
            return {call(port, "GET", "/v1/items/posted")[0] for _ in range(OFTEN)}

        wait_until(lambda: statuses() == {200}, "the item in both replicas")
        published = publish_copy(shop).name
        wait_until(lambda: generations() == {published}, "the published generation")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster with a node of two cores; processes of the test have its token."""
    before = dict(os.environ)
    prepare_ray(tmp_path_factory.mktemp("path"))
    secure_ray("")
    from serendip.runtime.ray_cluster import end_nodes, start_nodes

    try:
        cluster = start_nodes([2])
        yield cluster
        end_nodes(cluster)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_the_command_that_follows_a_killed_one_replaces_its_application(
    shop: Path, cluster: Any
) -> None:
    port, options = free_port(), ("--replicas", "1", "--address", cluster.address)
    with ray_service(shop, port, *options) as killed:
        killed.kill()
    assert call(port, "GET", "/health/live")[0] == 200  # the proxy outlives the command
    with ray_service(shop, port, *options) as process:
        assert call(port, "GET", "/health/ready")[1]["generation"] == "gen-1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0
    with pytest.raises(ConnectionRefusedError):
        call(port, "GET", "/health/live")
