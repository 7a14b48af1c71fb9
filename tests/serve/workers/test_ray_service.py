"""`serendip serve --engine ray`, as a process; only where the extra ``ray-serve`` is installed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from processes import wait_until
from ray_nodes import has_ray_serve
from test_real_service import ask, publish_copy

from serendip_bench.scripts.replica_kills import find_replicas

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not has_ray_serve(), reason="the extra ray-serve is not installed"),
]

OFTEN = 30
"""Requests after which both replicas have almost surely been asked."""


@contextmanager
def ray_service(shop: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service with two replicas that is ready, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-w", os.fspath(shop), "--port", str(port), "--engine", "ray", "--replicas", "2"]
    command = [sys.executable, "-m", "serendip", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            is_ready = any(line.startswith("Ready:") for line in process.stdout)
            assert is_ready, "the service ended before it was ready"
            yield process, port
        finally:
            process.terminate()


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and answer on a connection of its own."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        return ask(connection, method, path, body)


def test_two_replicas_answer_as_one_service_until_it_is_ended(shop: Path) -> None:
    with ray_service(shop) as (process, port):
        assert len(find_replicas()) == 2

        def generations() -> set[str]:
            asked = (call(port, "GET", "/health/ready") for _ in range(OFTEN))
            return {answer["generation"] for _, answer in asked}

        assert generations() == {"gen-1"}
        item = {"item_id": "posted", "title": "A zebra of its own"}
        assert call(port, "POST", "/v1/items", item)[0] == 200
        assert {call(port, "GET", "/v1/items/posted")[0] for _ in range(OFTEN)} == {200}
        published = publish_copy(shop).name
        wait_until(lambda: generations() == {published}, "the published generation")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0
