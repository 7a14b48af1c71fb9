"""Gates that a new generation must pass before it is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.query import Query
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError

METRIC, BASELINE = "nDCG@10", "popularity"

REPORT_JSON = "report.json"


def run_gates(state: EngineState, workspace: Workspace, fingerprint: str) -> list[dict[str, Any]]:
    """Results of all gates, all of them passed.

    Raises:
        DataError: one failed.
    """
    gates = [
        *integrity_gates(state, workspace.settings.all_surfaces()["home"]),
        *report_gate(workspace.reports / REPORT_JSON, fingerprint),
    ]
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    if failed:
        raise DataError(
            f"the new generation fails {', '.join(map(str, failed))}; it is not published."
        )
    return gates


def integrity_gates(state: EngineState, home: SurfaceConfig) -> list[dict[str, Any]]:
    """Finite numbers, and an answer where there must be one."""
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


def report_gate(report: Path, fingerprint: str) -> list[dict[str, Any]]:
    """Home is not worse than popularity, where a report about the same data and settings says so.

    Returns:
        one gate, or none where there is no such report.
    """
    if not report.is_file():
        return []
    document = json.loads(report.read_text(encoding="utf-8"))
    if document.get("fingerprint") != fingerprint:
        return []
    for found in document["protocols"]["temporal"]["comparisons"]:
        if (found["metric"], found["baseline"]) == (METRIC, BASELINE):
            detail = f"{METRIC} {found['difference']:+.4f} against {BASELINE}: {found['verdict']}"
            passed = found["verdict"] != "worse"
            return [{"name": "not worse than popularity", "passed": passed, "detail": detail}]
    return []
