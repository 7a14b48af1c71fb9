"""Cost of opening a generation: seconds, memory, and bytes on disk by folder.

Usage: python -m serendip_bench.scripts.open_generation WORKSPACE [--items N] [--json FILE]

With ``--items`` a workspace of that many items is made first, without training (see
``serendip_bench.large_state``). Opens the state twice in a process of its own, so that the second
time counts with the files in the page cache, and reports seconds of CPU and clock, the private and
the proportional memory after it (Linux), and the size of the generation per item.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from serendip.engine.artefacts.generations import open_current
from serendip.engine.workspace import Workspace

_CHILD = """
import json, sys, time
from pathlib import Path
from serendip.runtime.threads import limit_threads
limit_threads(1)
from serendip.engine.state import EngineState
import serendip.engine.engine
def memory():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return {"pss_mb": sizes["Pss"] / 1024, "private_mb": sizes["Private_Dirty"] / 1024}
before = memory()
cpu, clock = time.process_time(), time.perf_counter()
state = EngineState.open(Path(sys.argv[1]))
used = {"cpu_s": time.process_time() - cpu, "clock_s": time.perf_counter() - clock}
after = {f"{name}_more": value - before[name] for name, value in memory().items()}
print(json.dumps({"items": state.num_items, **used, **after}))
"""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.items:
        from serendip_bench.large_state import write_workspace

        write_workspace(options.workspace, options.items)
    result = measure(Workspace.open(options.workspace).generation_folder)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def measure(generations: Path) -> dict[str, Any]:
    """Seconds, memory and bytes of the published generation."""
    start = time.process_time()
    folder = open_current(generations).folder
    checksums = time.process_time() - start
    runs = [_open_in_process(folder) for _ in range(2)]
    count = runs[-1]["items"]
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        if path.is_file() and status.st_ino not in seen:
            seen.add(status.st_ino)
            sizes["/".join(path.relative_to(folder).parts[:2])] += status.st_size
    per_item = {name: round(size / count, 1) for name, size in sizes.most_common(12)}
    return {
        "checksums_cpu_s": round(checksums, 2),
        "first": _rounded(runs[0]),
        "second": _rounded(runs[1]),
        "bytes_per_item": round(sum(sizes.values()) / count, 1),
        "largest": per_item,
    }


def _open_in_process(folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder)], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


if __name__ == "__main__":
    main()
