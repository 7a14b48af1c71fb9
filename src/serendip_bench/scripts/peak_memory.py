"""Peak memory of a command and all its processes together, shared pages counted once (Linux).

python src/serendip_bench/scripts/peak_memory.py .venv/bin/serendip evaluate -w demo

Sums the proportional set sizes of the process and its descendants twice a second and prints one
JSON line when the command ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

_EVERY_S = 0.5


def main(command: list[str]) -> int:
    """Run the command, watch it, print the peak; returns the command's exit code."""
    started, peak_kb = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        while process.poll() is None:
            peak_kb = max(peak_kb, sum(map(proportional_kb, family(process.pid))))
            time.sleep(_EVERY_S)
    wall_s = round(time.perf_counter() - started, 1)
    result = {"benchmark": "peak_memory", "peak_mb": round(peak_kb / 1024), "wall_s": wall_s}
    print(json.dumps({**result, "exit_code": process.returncode}))
    return process.returncode


def family(process: int) -> list[int]:
    """The process and its descendants that live now."""
    found = [process]
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        found += [one for child in children for one in family(int(child))]
    return found


def proportional_kb(process: int) -> int:
    """Proportional set size in kB; 0 where the process has ended meanwhile."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
