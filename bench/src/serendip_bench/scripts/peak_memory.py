"""Peak memory of a command with all its processes, shared pages counted once (Linux).

python -m serendip_bench.scripts.peak_memory .venv/bin/serendip evaluate -w demo

Sums the proportional set sizes of the process and its descendants twice a second and prints one
JSON line when the command ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_INTERVAL_S = 0.5


def main(command: list[str]) -> int:
    """Run the command and print its peak memory; returns its exit code."""
    start, peak_kb = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        while process.poll() is None:
            peak_kb = max(peak_kb, sum(map(read_proportional_kb, list_processes(process.pid))))
            time.sleep(_INTERVAL_S)
    wall_s = round(time.perf_counter() - start, 1)
    result = {"benchmark": "peak_memory", "peak_mb": round(peak_kb / 1024), "wall_s": wall_s}
    print(json.dumps({**result, "exit_code": process.returncode}))
    return process.returncode


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


def find_descendants(*names: bytes) -> list[int]:
    """Running descendants of this process whose command lines begin with one of these names."""
    found = []
    for process in list_processes(os.getpid())[1:]:
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:  # it has ended in between
            continue
        if command.startswith(names):
            found.append(process)
    return found


def read_proportional_kb(process: int) -> int:
    """Proportional set size in kB; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
