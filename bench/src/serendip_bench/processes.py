"""What processes cost: CPU seconds and memory, that of descendants too (Linux)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from serendip.errors import DataError


def run_measured(command: Sequence[object]) -> dict[str, float]:
    """Run a command; CPU seconds with its children, seconds, largest resident memory in MB.

    Raises:
        DataError: it failed; the message has its last lines.
    """
    begin, words = time.perf_counter(), list(map(str, command))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        errors = process.stderr.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last, name = " / ".join(errors.strip().splitlines()[-3:]), " ".join(words[2:4])
        raise DataError(f"`{name}` failed: {last}", "Run it by hand to see more.")
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.perf_counter() - begin, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }


def list_processes(process: int) -> list[int]:
    """The process and its running descendants."""
    processes = [process]
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        processes += [descendant for child in children for descendant in list_processes(int(child))]
    return processes


def read_proportional_kb(process: int) -> int:
    """Proportional set size in kB; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
