"""Gates: checks that a new generation must pass before it is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.query import Query
from serendip.engine.quality_report import REPORT_JSON
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError

METRIC, BASELINE = "nDCG@10", "popularity"


def run_gates(state: EngineState, workspace: Workspace, fingerprint: str) -> list[dict[str, Any]]:
    """Run all gates and return their results.

    Raises:
        DataError: a gate failed.
    """
    gates = [
        *check_integrity(state, workspace.settings.all_surfaces()["home"]),
        *check_report(workspace.reports / REPORT_JSON, fingerprint),
    ]
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    if failed:
        raise DataError(
            f"the new generation is not published; it fails the gates: {', '.join(failed)}.",
            "Run `serendip doctor` and `serendip evaluate`, and correct the data or settings.",
        )
    return gates


def check_integrity(state: EngineState, home: SurfaceConfig) -> list[dict[str, Any]]:
    """Check that all numbers are finite and that home answers a user without a history."""
    arrays = (state.features.content, state.quality)
    answer = run([Query("home")], home, state)[0]
    return [
        {
            "name": "finite numbers",
            "passed": all(bool(np.isfinite(array).all()) for array in arrays),
            "detail": "content vectors and quality",
        },
        {
            "name": "answers a new visitor",
            "passed": len(answer.items) > 0 and not answer.degraded,
            "detail": f"{len(answer.items)} candidates for home",
        },
    ]


def check_report(report: Path, fingerprint: str) -> list[dict[str, Any]]:
    """Check that home is not worse than popularity, by a report with the same fingerprint.

    Returns:
        one result, or none without such a report.
    """
    if not report.is_file():
        return []
    document = json.loads(report.read_text(encoding="utf-8"))
    if document.get("fingerprint") != fingerprint:
        return []
    for row in document["protocols"]["temporal"]["comparisons"]:
        if (row["metric"], row["baseline"]) == (METRIC, BASELINE):
            detail = f"{METRIC} {row['difference']:+.4f} against {BASELINE}: {row['verdict']}"
            passed = row["verdict"] != "worse"
            return [{"name": "not worse than popularity", "passed": passed, "detail": detail}]
    return []
