"""Requests that fail while generations change and replicas of Ray Serve are killed.

python -m serendip_bench.scripts.replica_kills WORKSPACE [--requests N] [--swaps 5] [--kills 3]

WORKSPACE is trained and small; the service runs on a copy of it, with two replicas on this machine.
Clients ask for home and search one request after the other, each on a new connection. First
the published generation is published again several times, and each must be answered from; then
replicas are killed with SIGKILL, one at a time. A request failed if its status is not 200; one that
met a kill is asked once more by its client.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from serendip.engine.artefacts.generations import open_current, publish
from serendip_bench.scripts.peak_memory import find_descendants

_CLIENTS = 2


def find_replicas() -> list[int]:
    """Processes of the replicas of this script's service."""
    return find_descendants(b"ray::ServeReplica:serendip")


def ask(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a request; 0 = the connection failed."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


class ReplicaLoad:
    """Clients that ask until they are told to end.

    Args:
        port: of the service.
        users: ids of known users.
        clients: number of them.
    """

    def __init__(self, port: int, users: list[str], clients: int = _CLIENTS) -> None:
        self.asked, self.failed, self.failed_twice = 0, Counter[int](), 0
        self._port, self._users, self._ended = port, users, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> ReplicaLoad:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End after the running requests."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            path = f"/v1/recommend?user_id={random.choice(self._users)}"
            if random.random() < 0.5:
                path = "/v1/search?q=tale"
            self.asked += 1
            status, _ = ask(self._port, path)
            if status != 200:
                self.failed[status] += 1
                self.failed_twice += ask(self._port, path)[0] != 200


def publish_again(generations: Path) -> str:
    """Publish the generation in force once more, under a new name."""
    current = open_current(generations)

    def write(folder: Path) -> None:
        shutil.copytree(current.folder, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()

    own = {"generation", "name", "created", "files", "checksum", "previous", "format", "version"}
    facts = {key: value for key, value in current.manifest.items() if key not in own}
    return publish(generations, write, facts).name


def main() -> None:
    """Run all; exit code 1 if a request failed in spite of a second attempt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=2_000, help="at least so many in all")
    parser.add_argument("--swaps", type=int, default=5)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    pause = threading.Event()
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        folder = Path(shutil.copytree(options.workspace, Path(scratch) / "workspace"))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ["serve", "-w", os.fspath(folder), "--port", str(port), "--engine", "ray"]
        command = [sys.executable, "-m", "serendip", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("Ready:"))
            with ReplicaLoad(port, [f"u{number}" for number in range(40)]) as load:
                for number in range(options.swaps):
                    name = publish_again(folder / "generations")
                    while json.loads(ask(port, "/health/ready")[1])["generation"] != name:
                        pause.wait(0.2)
                    while load.asked < options.requests * (number + 1) / options.swaps / 2:
                        pause.wait(0.2)
            print(f"{options.swaps} swaps: {load.asked} requests, failed {dict(load.failed)}")
            with ReplicaLoad(port, [f"u{number}" for number in range(40)]) as second:
                for number in range(options.kills):
                    victim = random.choice(find_replicas())
                    os.kill(victim, signal.SIGKILL)
                    while len(set(find_replicas()) - {victim}) < 2:
                        pause.wait(0.2)
                    while second.asked < options.requests * (number + 1) / options.kills / 2:
                        pause.wait(0.2)
            print(
                f"{options.kills} kills: {second.asked} requests, failed {dict(second.failed)}, "
                f"of these again {second.failed_twice}"
            )
            process.send_signal(signal.SIGTERM)
        print(f"ended with exit code {process.returncode}")
    raise SystemExit(bool(load.failed or second.failed_twice or process.returncode))


if __name__ == "__main__":
    main()
