"""The script that kills tasks finds those of its own process alone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from serendip_bench.scripts.kill_nodes import find_tasks

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

ORPHAN = "(exec -a ray::_run sleep 60 >/dev/null 2>&1) & echo $!"
"""Starts a process of this name, prints its id and leaves it behind."""


def test_only_tasks_that_descend_from_this_process_are_found() -> None:
    started = subprocess.run(["bash", "-c", ORPHAN], capture_output=True, text=True, check=True)
    orphan = int(started.stdout)
    try:
        with subprocess.Popen(["ray::_run", "60"], executable="/bin/sleep") as ours:
            assert find_tasks() == [ours.pid]
            ours.kill()
    finally:
        os.kill(orphan, signal.SIGKILL)
