"""Cost of ``serendip init`` and ``serendip train`` on a shop of any size (Linux).

python -m serendip_bench.scripts.train_shop SHOP [--budget 30m] [--workspace W] [--json F]

SHOP is a folder with ``items.parquet`` and ``events.parquet``. Each command runs in a process of
its own, in a new workspace that is deleted at the end. Prints JSON: CPU-minutes, minutes of the
clock and the peak memory of all processes together (pages that they share counted once), and the
stages of the training.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serendip_bench.processes import list_processes, read_proportional_kb

_INTERVAL_S = 0.5


def measure_command(*words: object) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a command of ``serendip``: its cost, and its JSON document."""
    command = [sys.executable, "-m", "serendip", *map(str, words), "--json"]
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_kb = 0
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, stdout=output) as process:
            while process.poll() is None:
                sizes = map(read_proportional_kb, list_processes(process.pid))
                peak_kb = max(peak_kb, sum(sizes))
                time.sleep(_INTERVAL_S)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed; see its error above.")
        output.seek(0)
        document: dict[str, Any] = json.load(output)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    cost = {
        "cpu_min": round((user + system) / 60, 2),
        "system_min": round(system / 60, 2),
        "wall_min": round((time.perf_counter() - begin) / 60, 2),
        "peak_mb": round(peak_kb / 1024),
        "page_faults_m": round((after.ru_minflt - before.ru_minflt) / 1e6, 2),
    }
    return cost, document


def main() -> None:
    """Run both commands and print their costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("--budget", help="`serendip train --budget`.")
    parser.add_argument("--workspace", type=Path, help="Keep the workspace in this folder.")
    parser.add_argument("--json", type=Path, help="Write the result into a file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace, shop = options.workspace or Path(scratch), options.shop
        files = ("--items", shop / "items.parquet", "--events", shop / "events.parquet")
        imported, _ = measure_command("init", *files, "-w", workspace)
        limit = ("--budget", options.budget) if options.budget else ()
        trained, document = measure_command("train", "-w", workspace, *limit)
    result = {
        "benchmark": "train_shop",
        "shop": shop.name,
        "init": imported,
        "train": trained,
        **{name: document.get(name) for name in ("counts", "budget", "stages")},
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
