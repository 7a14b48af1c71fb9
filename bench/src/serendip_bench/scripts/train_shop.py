"""Cost of ``serendip init`` and ``serendip train`` on a shop of any size (Linux).

python -m serendip_bench.scripts.train_shop SHOP [--budget 30m] [--encoder hashing] [--json F]

SHOP is a folder with ``items.parquet`` and ``events.parquet``. Each command runs in a process of
its own, in a new workspace that is deleted at the end. Prints CPU-minutes, minutes of the clock and
the peak memory of all processes together (pages that they share counted once), and for the training
a table of its stages.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serendip_bench.processes import list_processes, read_proportional_kb

_COMMAND = "from serendip.cli.main import main; main()"
_INTERVAL_S = 0.5


def main() -> None:
    """Run both commands and print their costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("--budget", help="`serendip train --budget`.")
    parser.add_argument("--encoder", help="Name of the text encoder; default: that of `init`.")
    parser.add_argument("--workspace", type=Path, help="Keep the workspace in this folder.")
    parser.add_argument("--json", type=Path, help="Write the result into a file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch)
        result = measure_shop(options.shop, workspace, options.budget, options.encoder)
    print_result(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def measure_shop(
    shop: Path, workspace: Path, budget: str | None, encoder: str | None
) -> dict[str, Any]:
    """Import and train a shop in a workspace; the cost of both commands."""
    files = ["--items", shop / "items.parquet", "--events", shop / "events.parquet"]
    begin, _ = measure_command(["init", *files, "-w", workspace])
    if encoder:
        set_encoder(workspace / "serendip.toml", encoder)
    limit = ["--budget", budget] if budget else []
    cost, document = measure_command(["train", "-w", workspace, "--json", *limit])
    return {
        "benchmark": "train_shop",
        "shop": shop.name,
        "counts": document["counts"],
        "budget": document.get("budget"),
        "init": begin,
        "train": cost,
        "stages": document["stages"],
    }


def set_encoder(settings: Path, name: str) -> None:
    """Set the text encoder in a settings file."""
    text = settings.read_text(encoding="utf-8")
    line = f'name = "{name}"'
    if "[content]" not in text:
        text = f"{text}\n[content]\n{line}\n"
    else:
        text = re.sub(r"^\[content\].*$", f"[content]\n{line}", text, count=1, flags=re.MULTILINE)
    settings.write_text(text, encoding="utf-8")


def measure_command(arguments: list[Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a command of ``serendip``: its cost, and its JSON document (empty without ``--json``)."""
    command = [sys.executable, "-c", _COMMAND, *map(os.fspath, arguments)]
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
        text = output.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    cost = {
        "cpu_min": round((user + system) / 60, 2),
        "system_min": round(system / 60, 2),
        "wall_min": round((time.perf_counter() - begin) / 60, 2),
        "peak_mb": round(peak_kb / 1024),
        "page_faults_m": round((after.ru_minflt - before.ru_minflt) / 1e6, 2),
    }
    return cost, json.loads(text) if "--json" in arguments else {}


def print_result(result: dict[str, Any]) -> None:
    """Print the costs for people."""
    print(f"{result['shop']}: {result['counts']}")
    for name in ("init", "train"):
        cost = result[name]
        print(
            f"{name:<6} {cost['cpu_min']:7.2f} CPU-min ({cost['system_min']:.2f} in the kernel)  "
            f"{cost['wall_min']:7.2f} min  {cost['peak_mb']:6} MB  "
            f"{cost['page_faults_m']:.1f} M page faults"
        )
    for stage in result["stages"]:
        print(f"  {stage['name']:<30} {stage['cpu_s']:8.1f} CPU-s  {stage['peak_mb']:7.0f} MB")
    for cut in (result["budget"] or {}).get("cut_short", ()):
        print(f"  cut short: {cut['name']} at {100 * cut['done']:.0f} %")


if __name__ == "__main__":
    main()
