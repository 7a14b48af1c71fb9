"""The demo's steps. Only the first one is the demo's own: it writes the two files.

The demo: MovieLens as a user would bring it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serendip.engine.generations import open_current
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ArtefactError, ExtraMissing, NotTrainedError
from serendip.jobs.doctor import check_workspace
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.import_files import import_files, imported_digest
from serendip.jobs.train.train import REPORT_JSON, fingerprint, train_workspace
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock

_HERE = Path(__file__).parent


def build_demo(
    folder: Path,
    options: TrainOptions,
    clock: StageClock,
    on_checks: Callable[[list[dict[str, Any]]], None],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Make the workspace, or find it made.

    Args:
        folder: the workspace.
        options: seed and progress.
        clock: collects what each stage cost.
        on_checks: sees the doctor's results.
        say: sees lines for people.

    Returns:
        the generation's name, the report's path and verdict, use of the codes, and the stages.
    """
    with clock.stage("data files"):
        write_files(folder)
    workspace = Workspace.open(folder)
    with clock.stage("import"):
        if imported_digest(workspace) is None:
            import_files(workspace)
    with clock.stage("doctor"):
        checks = check_workspace(workspace)
    on_checks(checks)
    report = _report(workspace, options, clock, say)
    generation = _generation(workspace, options, clock, say)
    return {
        "generation": generation,
        "report": str(workspace.reports / REPORT_JSON),
        "verdict": report["verdict"],
        "semantic_ids": report["semantic_ids"],
        "stages": clock.as_dicts(),
    }


def write_files(folder: Path) -> None:
    """Write films.csv, ratings.csv and serendip.toml where they are missing.

    Raises:
        ExtraMissing: the package that carries the data is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "films.csv").exists() or not (folder / "ratings.csv").exists():
        done = subprocess.run(
            [sys.executable, str(_HERE / "demo_movielens.py"), str(folder)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no output"]
            raise ExtraMissing(
                f"the demo's data could not be written: {last[0]}",
                "Install it: pip install 'serendip[demo]'.",
            )
    if not (folder / SETTINGS_FILE).exists():
        shutil.copyfile(_HERE / "demo.toml", folder / SETTINGS_FILE)


def _report(
    workspace: Workspace, options: TrainOptions, clock: StageClock, say: Callable[[str], None]
) -> dict[str, Any]:
    """The report of this data, settings and code; made where there is none."""
    path = workspace.reports / REPORT_JSON
    wanted = fingerprint(workspace, options.seed)
    if path.exists():
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if report.get("fingerprint") == wanted:
            say("  the report is up to date")
            return report
    return evaluate_workspace(workspace, options, clock)


def _generation(
    workspace: Workspace, options: TrainOptions, clock: StageClock, say: Callable[[str], None]
) -> str:
    """Name of the generation of this data, settings and code; trained where there is none."""
    try:
        current = open_current(workspace.generations, verify=False)
        if current.manifest["fingerprint"] == fingerprint(workspace, options.seed):
            say(f"  {current.name} is up to date")
            return current.name
    except (ArtefactError, NotTrainedError):
        pass
    return train_workspace(workspace, options, clock).name
