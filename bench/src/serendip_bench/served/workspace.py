"""The trained workspace: ``serendip init`` and ``serendip train`` in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serendip.errors import ArtefactError, DataError
from serendip.runtime.atomic_files import write_json
from serendip_bench.served.data import FILES_VERSION, compute_digest, write_files


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Cost of a process.

    Args:
        cpu_s: CPU seconds of it and its children.
        wall_s: seconds by the clock on the wall.
        peak_mb: largest resident memory.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float


def make_workspace(
    data: Path, work: Path, seed: int, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """Write the files, run ``init`` and ``train``; costs of both.

    A finished workspace of the same data, seed and items left out is used again.

    Args:
        data: folder of the data.
        work: folder of the files and the workspace.
        seed: of the training and the times of the day.
        left_out: items that are in neither file.

    Raises:
        DataError: a command failed.
        ArtefactError: the copy of a finished workspace is missing.
    """
    done = work / "trained.json"
    digest = f"{FILES_VERSION} {compute_digest(data)} {seed} {len(left_out)}"
    if done.exists():
        kept: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if kept["digest"] == digest:
            _restore(work)
            return dict(kept["costs"])
    shutil.rmtree(work / "workspace", ignore_errors=True)
    done.unlink(missing_ok=True)
    write_files(data, work, seed, left_out)
    workspace = work / "workspace"
    paths = ("--items", work / "items.jsonl", "--events", work / "events.csv")
    costs = {
        "init": asdict(run_command("init", *paths, "--workspace", workspace)),
        "train": asdict(run_command("train", "--workspace", workspace, "--seed", seed)),
    }
    # The service writes into the workspace: every run asks a copy of what was trained.
    shutil.copytree(workspace, work / "trained")
    write_json(done, {"digest": digest, "costs": costs})
    return costs


def _restore(work: Path) -> None:
    """The workspace as it was after the training, without the events of an earlier run."""
    if not (work / "trained").is_dir():
        raise ArtefactError(f"{work} has no trained workspace.", f"Delete {work} and run again.")
    shutil.rmtree(work / "workspace", ignore_errors=True)
    shutil.copytree(work / "trained", work / "workspace")


def run_command(*arguments: object) -> ProcessCost:
    """Run a command of the product in a process of its own.

    Raises:
        DataError: it failed; the message has its last lines.
    """
    begin = time.perf_counter()
    line = [sys.executable, "-m", "serendip", *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        errors = process.stderr.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = " / ".join(errors.strip().splitlines()[-3:])
        raise DataError(f"`serendip {arguments[0]}` failed: {last}", "Run it by hand to see more.")
    return ProcessCost(
        round(usage.ru_utime + usage.ru_stime, 1),
        round(time.perf_counter() - begin, 1),
        round(usage.ru_maxrss / 1024, 1),
    )
