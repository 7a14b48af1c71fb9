"""``serendip demo``: runs all steps of a new workspace on MovieLens.

Only the first step, which writes the two data files, is specific to the demo.
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
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ArtefactError, ExtraMissing, NotTrainedError
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.import_files import import_files, read_import_digest
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.gates import REPORT_JSON
from serendip.jobs.train.train import train_workspace
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
    """Build the workspace; steps that are up to date are not repeated.

    Args:
        folder: of the workspace.
        options: seed and progress.
        clock: measures the stages.
        on_checks: called with the doctor's results.
        say: called with lines for people.

    Returns:
        name of the generation, path and verdict of the report, quality of the semantic IDs, and
        the stages.
    """
    with clock.stage("data files"):
        write_demo_files(folder)
    context = JobContext.open(folder, options, clock)
    workspace = context.workspace
    with clock.stage("import"):
        if read_import_digest(workspace) is None:
            import_files(workspace)
    with clock.stage("doctor"):
        checks = check_workspace(workspace)
    on_checks(checks)
    report = _evaluate(context, say)
    generation = _train(context, say)
    return {
        "generation": generation,
        "report": str(workspace.reports / REPORT_JSON),
        "verdict": report["verdict"],
        "semantic_ids": report["semantic_ids"],
        "stages": clock.as_dicts(),
    }


def write_demo_files(folder: Path) -> None:
    """Write films.csv, ratings.csv and serendip.toml if they are missing.

    Raises:
        ExtraMissing: the package with the data is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "films.csv").exists() or not (folder / "ratings.csv").exists():
        process = subprocess.run(
            [sys.executable, str(_HERE / "demo_movielens.py"), str(folder)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            check=False,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or ["no output"]
            raise ExtraMissing(
                f"the demo's data could not be written: {last[0]}",
                "Install it: pip install 'serendip[demo]'.",
            )
    if not (folder / SETTINGS_FILE).exists():
        shutil.copyfile(_HERE / "demo.toml", folder / SETTINGS_FILE)


def _evaluate(context: JobContext, say: Callable[[str], None]) -> dict[str, Any]:
    """The report with the current fingerprint; evaluates if there is none."""
    path = context.workspace.reports / REPORT_JSON
    fingerprint = compute_fingerprint(context.workspace, context.options.seed)
    if path.exists():
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if report.get("fingerprint") == fingerprint:
            say("  the report is up to date")
            return report
    return evaluate_workspace(context)


def _train(context: JobContext, say: Callable[[str], None]) -> str:
    """Name of the generation with the current fingerprint; trains if there is none."""
    workspace = context.workspace
    try:
        current = open_current(workspace.generations, verify=False)
        if current.manifest["fingerprint"] == compute_fingerprint(workspace, context.options.seed):
            say(f"  {current.name} is up to date")
            return current.name
    except (ArtefactError, NotTrainedError):
        pass
    return train_workspace(context).name
