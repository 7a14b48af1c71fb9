"""Cost of ``serendip init`` and ``serendip train`` on a shop of any size (Linux).

python -m serendip_bench.scripts.train_shop SHOP [--budget 30m] [--workspace W] [--json F]

SHOP is a folder with ``items.parquet`` and ``events.parquet``. Each command runs in a process of
its own, in a new workspace that is deleted at the end. The shop is trained three times: from
nothing, after 1 % more events were posted, and after one setting of ``[queries]`` was changed.
Prints JSON: CPU-minutes, minutes of the clock and the peak memory of all processes together (pages
that they share counted once), and the stages of each training.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serendip.data.events.event import Event
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip_bench.processes import list_processes, read_proportional_kb

_INTERVAL_S = 0.5

NEW_SHARE = 0.01
"""Of the events, those that are posted after the first training."""

_SETTING = '\n[queries]\nphrases = ["title"]\n'


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


def post_events(workspace: Path, shop: Path) -> None:
    """Post events of the shop once more, drawn at random, an hour or less after its last one."""
    table = pq.read_table(shop / "events.parquet")
    size = int(NEW_SHARE * len(table))
    rows = np.random.default_rng(0).integers(0, len(table), size)
    last = int(table["when"].to_numpy().max())
    drawn = table.take(pa.array(rows)).to_pylist()
    events = [
        Event(row["customer"], row["sku"], last + 3_600 * (n + 1) / size, row["action"])
        for n, row in enumerate(drawn)
    ]
    with closing(Workspace.open(workspace).open_store()) as store:
        store.put_events(events)


def change_setting(workspace: Path, shop: Path) -> None:
    """Let suggestions be made of titles."""
    with (workspace / SETTINGS_FILE).open("a", encoding="utf-8") as file:
        file.write(_SETTING)


def main() -> None:
    """Run the commands and print their costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("--budget", help="`serendip train --budget`.")
    parser.add_argument("--workspace", type=Path, help="Keep the workspace in this folder.")
    parser.add_argument("--json", type=Path, help="Write the result into a file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace, shop = options.workspace or Path(scratch), options.shop
        files = ("--items", shop / "items.parquet", "--events", shop / "events.parquet")
        limit = ("--budget", options.budget) if options.budget else ()
        imported, _ = measure_command("init", *files, "-w", workspace)
        result: dict[str, Any] = {"benchmark": "train_shop", "shop": shop.name, "init": imported}
        changes = {
            "train": None,
            "after new events": post_events,
            "after a setting": change_setting,
        }
        for name, change in changes.items():
            if change is not None:
                change(workspace, shop)
            cost, document = measure_command("train", "-w", workspace, *limit)
            told = {key: document.get(key) for key in ("counts", "budget", "stages")}
            result[name] = {**cost, **told}
            print(f"{name}: {cost}", file=sys.stderr)
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
