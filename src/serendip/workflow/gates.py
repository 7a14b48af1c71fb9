"""What a generation must pass before it is published; the results stand in its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.query import Query
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState

METRIC, BASELINE = "nDCG@10", "popularity"


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
