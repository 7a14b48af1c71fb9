"""The service trains by itself, says when a gate refuses, and nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from commands import serendip_here
from processes import descendants, is_running, wait_until
from stand import write_worse_report

from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.engine.workspace import Workspace
from serendip.jobs.status import running_training

SCHEDULE = '\n[train]\nschedule = "1s"\n\n[train.stale]\nnew_events = 5\n'
ALL_WORKERS = pytest.mark.parametrize("workers", [1, 2])


class Service:
    """``serendip serve`` over a workspace with a schedule."""

    def __init__(self, folder: Path, workers: int) -> None:
        settings = folder / "serendip.toml"
        settings.write_text(settings.read_text() + SCHEDULE)
        self.workspace, self.log = Workspace.open(folder), folder / "stderr.txt"
        options = ["-w", os.fspath(folder), "--port", "0", "--workers", str(workers)]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serendip", "serve", *options],
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        assert self.process.stdout is not None
        line = ""
        while not line.startswith("Ready:"):
            line = self.process.stdout.readline()
            assert line, self.log.read_text()
        self.port = urlsplit(line.split()[1]).port or 0

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def post_events(self, count: int) -> None:
        events = [{"user_id": "u1", "item_id": f"i{n}", "action": "like"} for n in range(count)]
        status, answer = self.ask("POST", "/v1/events", events)
        assert (status, json.loads(answer)["new"]) == (200, count)

    def generation(self) -> Any:
        status, answer = self.ask("GET", "/v1/recommend?surface=home&k=1")
        assert status == 200
        return json.loads(answer)["generation"]

    def has_metric(self, line: str) -> bool:
        return f"{line}\n" in self.ask("GET", "/metrics")[1]

    def wait_for_training(self) -> None:
        wait_until(lambda: running_training(self.workspace), "a training")

    def names(self) -> set[str]:
        """Entries of the folder of generations."""
        return {path.name for path in self.workspace.generations.iterdir()}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(folder: Path, workers: int) -> Iterator[Service]:
    service = Service(folder, workers)
    try:
        yield service
    finally:
        service.close()


def make_long(folder: Path) -> None:
    """Settings by which a training is due and takes minutes."""
    path = folder / "serendip.toml"
    text = path.read_text().replace("[models.retriever]\nembedding_size = 16\n", "")
    more = "[models.retriever]\nembedding_size = 16\nbatch_size = 1\npatience = 500\n"
    path.write_text(
        text.replace("search_size = 8\nepochs = 2", f"{more}search_size = 8\nepochs = 500")
    )


@ALL_WORKERS
def test_new_events_lead_to_a_new_generation_that_answers(stand: Path, workers: int) -> None:
    with serving(stand, workers) as service:
        assert service.generation() == "gen-1"
        service.post_events(5)
        wait_until(lambda: service.generation() == "gen-2", "the next generation")
        record = TrainingRecord.read(service.workspace.training)
        assert record is not None
        assert (record.result, record.generation) == ("published", "gen-2")
        assert record.reasons == ["5 new events"]
        wait_until(
            lambda: service.has_metric('serendip_last_training{result="published"} 1.0'), "a metric"
        )
        processes = descendants(service.process.pid)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        wait_until(lambda: not any(map(is_running, processes)), "the end of all processes")
    assert "Traceback" not in service.log.read_text()


def test_a_refused_generation_is_an_alarm_and_not_tried_again_at_once(stand: Path) -> None:
    with serving(stand, 1) as service:
        write_worse_report(stand)
        service.post_events(5)
        wait_until(
            lambda: service.has_metric('serendip_last_training{result="refused"} 1.0'), "the alarm"
        )
        assert service.has_metric("serendip_failed_trainings 1.0")
        wait_until(lambda: "a gate refused the trained generation" in service.log.read_text(), "it")
        service.post_events(10)
        assert service.generation() == "gen-1"
        assert service.names() == {"gen-1", "CURRENT", "CURRENT.backup", ".lock"}
        told = serendip_here("status", "-w", stand).stdout
        assert "refused" in told
        assert "the service checks every 1s" in told


@ALL_WORKERS
def test_a_killed_service_leaves_no_process_and_no_half_generation(
    stand: Path, workers: int
) -> None:
    make_long(stand)
    with serving(stand, workers) as service:
        service.wait_for_training()
        assert serendip_here("train", "-w", stand).returncode == 8  # one at a time
        processes = descendants(service.process.pid)
        assert any("spawn_main" in command_of(pid) for pid in processes)
        os.kill(service.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, processes)), "the end of all processes")
        assert running_training(service.workspace) is None
        assert service.names() == {"gen-1", "CURRENT", "CURRENT.backup", ".lock"}


@ALL_WORKERS
def test_a_signal_ends_the_training_with_the_service(stand: Path, workers: int) -> None:
    make_long(stand)
    with serving(stand, workers) as service:
        service.wait_for_training()
        processes = descendants(service.process.pid)
        assert any("spawn_main" in command_of(pid) for pid in processes)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        wait_until(lambda: not any(map(is_running, processes)), "the end of all processes")
        assert list(service.workspace.training.glob("scratch-*")) == []
        record = TrainingRecord.read(service.workspace.training)
        assert record is not None and record.result == "published"  # an interruption is no failure


def test_a_killed_training_is_a_failure_and_the_service_goes_on(stand: Path) -> None:
    make_long(stand)
    with serving(stand, 1) as service:
        service.wait_for_training()
        (trainer,) = [
            pid for pid in descendants(service.process.pid) if "spawn_main" in command_of(pid)
        ]
        os.kill(trainer, signal.SIGKILL)
        wait_until(
            lambda: service.has_metric('serendip_last_training{result="failed"} 1.0'), "the alarm"
        )
        assert service.generation() == "gen-1"
        record = TrainingRecord.read(service.workspace.training)
        assert record is not None
        assert "exit code -9" in record.message
        assert running_training(service.workspace) is None
        assert service.names() <= {"gen-1", "CURRENT", "CURRENT.backup", ".lock"}


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
