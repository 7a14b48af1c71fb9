"""The scripts that kill tasks and replicas find those of their own process alone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from serendip_bench.scripts.kill_nodes import find_tasks
from serendip_bench.scripts.replica_kills import find_replicas

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

ORPHAN = "(exec -a {name} sleep 60 >/dev/null 2>&1) & echo $!"
"""Starts a process of this name, prints its id and leaves it behind."""


@pytest.mark.parametrize(
    ("name", "find"),
    [("ray::_run", find_tasks), ("ray::ServeReplica:serendip:replica", find_replicas)],
)
def test_only_processes_that_descend_from_this_one_are_found(
    name: str, find: Callable[[], list[int]]
) -> None:
    command = ["bash", "-c", ORPHAN.format(name=name)]
    orphan = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    try:
        with subprocess.Popen([name, "60"], executable="/bin/sleep") as ours:
            while not Path(f"/proc/{ours.pid}/cmdline").read_bytes():
                pass  # it has no arguments yet in the instant after its start
            assert find() == [ours.pid]
            ours.kill()
    finally:
        os.kill(orphan, signal.SIGKILL)
