"""Replicas of Ray Serve that come and go with the load, and the requests that fail meanwhile.

python src/serendip_bench/scripts/replica_scaling.py WORKSPACE [--most 2] [--clients 8]

WORKSPACE is trained and small; the service runs on a copy of it, with one replica at least. Many
clients ask until there are as many replicas as there may be, then one client until there is one
again. A request failed if its status is not 200.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from serendip_bench.scripts.replica_kills import ReplicaLoad, find_replicas

_SETTINGS = """
[serve]
most_replicas = {most}
replica_requests = 1.0
replica_patience = "10s"
deadline = "60s"
"""
_WAIT_S = 240.0


def wait_for(count: int) -> float:
    """Seconds until there are so many replicas.

    Raises:
        TimeoutError: there are not.
    """
    begin, pause = time.monotonic(), threading.Event()
    while len(find_replicas()) != count:
        if time.monotonic() - begin > _WAIT_S:
            raise TimeoutError(f"{len(find_replicas())} replicas instead of {count}")
        pause.wait(0.2)
    return time.monotonic() - begin


def main() -> None:
    """Grow and shrink; exit code 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--most", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    users = [f"u{number}" for number in range(40)]
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        folder = Path(shutil.copytree(options.workspace, Path(scratch) / "workspace"))
        with (folder / "serendip.toml").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS.format(most=options.most))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ["serve", "-w", os.fspath(folder), "--port", str(port), "--engine", "ray"]
        command = [sys.executable, "-m", "serendip", *words, "--replicas", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                next(line for line in process.stdout if line.startswith("Ready:"))
                with ReplicaLoad(port, users, options.clients) as many:
                    grown = wait_for(options.most)
                with ReplicaLoad(port, users, 1) as one:
                    shrunk = wait_for(1)
            finally:
                process.send_signal(signal.SIGTERM)
        print(f"1 -> {options.most} replicas in {grown:.0f} s: {many.asked} requests,")
        print(f"  failed {dict(many.failed)}")
        print(f"{options.most} -> 1 replicas in {shrunk:.0f} s: {one.asked} requests,")
        print(f"  failed {dict(one.failed)}; ended with exit code {process.returncode}")
    raise SystemExit(bool(many.failed or one.failed or process.returncode))


if __name__ == "__main__":
    main()
