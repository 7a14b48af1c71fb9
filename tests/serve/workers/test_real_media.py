"""A service encodes the picture and sound of a posted item, also after it was killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import children, wait_until
from test_real_workers import Pair, Worker, pair


def post_twin(worker: Worker, name: str) -> None:
    """Post an item with the words and files of i0."""
    item = worker.read("/v1/items/i0")
    body = {"item_id": name, "title": item["title"], "attributes": item["attributes"]}
    assert worker.write("POST", "/v1/items", body) == {"received": 1, "new": 1, "left_out": []}


def states(worker: Worker, name: str) -> set[str]:
    return {file["state"] for file in worker.read(f"/v1/items/{name}")["files"].values()}


def wait_for_files(worker: Worker, name: str) -> None:
    wait_until(lambda: states(worker, name) == {"encoded"}, "the end of their encoding")


def test_a_service_encodes_files_once_for_all_workers_and_after_a_kill(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = os.fspath(Path(__file__).parents[2] / "content")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([networks, os.environ.get("PYTHONPATH", "")]))
    with pair(gallery) as service, service.workers() as (one, other):
        post_twin(one, "twin")
        assert states(other, "twin") <= {"waiting", "encoded"}
        wait_for_files(one, "twin")
        assert states(other, "twin") == {"encoded"}
        wanted = one.read("/v1/items/i0")["semantic_id"]
        assert other.read("/v1/items/twin")["semantic_id"] == wanted
        post_twin(other, "late")
        kill(service)
    with pair(gallery) as service, service.workers() as (one, other):
        wait_for_files(other, "late")
        assert one.read("/v1/items/late")["semantic_id"] == wanted
        assert service.end() == 0


def kill(service: Pair) -> None:
    """End the supervisor and all workers with SIGKILL."""
    workers = children(service.process.pid)
    service.process.kill()
    service.process.wait()
    for worker in workers:
        try:
            os.kill(worker, 9)
        except ProcessLookupError:  # it ended with its supervisor
            continue
