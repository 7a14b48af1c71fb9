"""``serendip demo``: runs all steps of a new workspace on MovieLens.

Only the first step, which writes the two data files, is specific to the demo. A generation is
published before its quality is measured, so that the page need not wait for the report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serendip.engine.artefacts.generations import open_in_force
from serendip.engine.workspace import REPORT_HTML, REPORT_JSON, SETTINGS_FILE
from serendip.errors import DataError, ExtraMissing
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.import_files import import_files, read_import_digest
from serendip.jobs.train.fingerprint import compute_fingerprint, read_report
from serendip.jobs.train.gates import check_report
from serendip.jobs.train.train import train_workspace
from serendip.runtime.extras import require_training
from serendip.runtime.progress import StageClock, TrainOptions
from serendip.runtime.versions import Version

_HERE = Path(__file__).parent


def build_demo(
    folder: Path,
    options: TrainOptions,
    clock: StageClock,
    on_checks: Callable[[list[dict[str, Any]]], None],
    say: Callable[[str], None],
) -> tuple[JobContext, Version]:
    """Build the workspace and publish a generation; steps that are up to date are not repeated.

    ``on_checks`` gets the doctor's results, ``say`` lines for people. The returned context is for
    further jobs.

    Raises:
        ExtraMissing: a package of the extra ``train`` or ``demo`` is not installed.
    """
    require_training()
    with clock.stage("data files"):
        write_demo_files(folder)
    context = JobContext.open(folder, options, clock, on_engine=True)
    workspace = context.workspace
    with clock.stage("import"):
        if read_import_digest(workspace) is None:
            import_files(workspace)
    with clock.stage("doctor"):
        checks = check_workspace(workspace)
    on_checks(checks)
    return context, _train(context, say)


def write_demo_files(folder: Path) -> None:
    """Write films.csv, ratings.csv and serendip.toml if they are missing.

    Raises:
        ExtraMissing: the package with the data is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "films.csv").exists() or not (folder / "ratings.csv").exists():
        process = subprocess.run(
            [sys.executable, str(_HERE / "write_movielens.py"), str(folder)],
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


def _train(context: JobContext, say: Callable[[str], None]) -> Version:
    workspace = context.workspace
    current = open_in_force(workspace.generations, verify=False)
    if current is None or current.manifest["fingerprint"] != _fingerprint(context):
        return train_workspace(context)
    say(f"  {current.name} is up to date")
    return current


def measure_quality(context: JobContext, say: Callable[[str], None]) -> dict[str, Any]:
    """The report with the current fingerprint; evaluates if there is none.

    Raises:
        DataError: the published engine is worse than popularity.
    """
    report = read_quality(context)
    if report is not None:
        say("  the report is up to date")
    else:
        with context.options.progress.step("measuring the quality"):
            report = evaluate_workspace(context)
    path = context.workspace.reports / REPORT_JSON
    for gate in check_report(path, _fingerprint(context)):
        if not gate.on:
            raise DataError(
                f"the published generation fails the gate {gate.name!r}: {gate.reason}.",
                f"Read {path.with_name(REPORT_HTML)}; `serendip rollback` returns to the "
                "generation before.",
            )
    return report


def read_quality(context: JobContext) -> dict[str, Any] | None:
    """The report with the current fingerprint; None = there is none."""
    return read_report(context.workspace.reports / REPORT_JSON, _fingerprint(context))


def _fingerprint(context: JobContext) -> str:
    return compute_fingerprint(context.workspace, context.options.seed)
