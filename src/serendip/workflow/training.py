"""``serendip train``: the store's snapshot -> a fitted state -> a published generation."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from serendip import __version__
from serendip.content.cache import VectorCache
from serendip.content.text import open_encoder
from serendip.data.dataset import Dataset
from serendip.data.query import History, Query
from serendip.data.snapshot import take_snapshot
from serendip.engine.generation import Generation, publish
from serendip.engine.pipeline import run
from serendip.engine.state import EngineState
from serendip.engine.surfaces import SurfaceConfig
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.scale.options import TrainOptions
from serendip.scale.stages import StageClock
from serendip.workflow.fit import Fitter
from serendip.workflow.importing import imported_digest


def train_workspace(
    workspace: Workspace,
    options: TrainOptions,
    clock: StageClock,
    evaluation: Mapping[str, Any] | None = None,
) -> Generation:
    """Fit everything on all data of the store and publish it.

    Args:
        workspace: where the data is and the generation goes.
        options: seed and progress.
        clock: collects what each stage cost.
        evaluation: gate results of a report, to be told in the manifest.

    Raises:
        DataError: the catalogue is empty, or the new generation fails a gate; the published one
            stays.
    """
    with closing(workspace.open_store()) as store, clock.stage("snapshot"):
        item_version, event_seq = store.max_version(), store.max_seq()
        dataset = take_snapshot(store, workspace.settings.actions)
    if dataset.num_items == 0:
        raise DataError("the catalogue is empty.", "Import items first: `serendip import`.")
    with tempfile.TemporaryDirectory() as scratch:
        fitter = Fitter(
            workspace.settings,
            open_encoder(workspace.settings.content),
            VectorCache(workspace.cache),
            Path(scratch),
            clock,
        )
        state = fitter.fit(dataset, "all", options)
        gates = integrity_gates(state, workspace.settings.all_surfaces()["home"])
        failed = [gate["name"] for gate in gates if not gate["passed"]]
        if failed:
            raise DataError(
                f"the new generation fails {', '.join(map(str, failed))}; it is not published."
            )
        facts = {
            "item_version": item_version,
            "event_seq": event_seq,
            "fingerprint": fingerprint(workspace, options.seed),
            "seed": options.seed,
            "data_cut": _last_time(dataset),
            "counts": {
                "items": dataset.num_items,
                "users": dataset.num_users,
                "events": len(dataset.events),
            },
            "gates": [*gates, *([evaluation] if evaluation else [])],
            "settings": workspace.settings.model_dump(mode="json"),
        }
        with clock.stage("publish"):
            return publish(workspace.generations, state.save, facts)


def integrity_gates(state: EngineState, home: SurfaceConfig) -> list[dict[str, Any]]:
    """What every generation must pass: finite numbers, and answers where there must be some."""
    arrays = {"content": state.features.content, "quality": state.quality}
    finite = all(bool(np.isfinite(array).all()) for array in arrays.values())
    answers = run([Query("home", history=History())], home, state)[0]
    return [
        {"name": "finite", "passed": finite, "detail": "content and quality are finite"},
        {
            "name": "answers",
            "passed": len(answers.items) > 0,
            "detail": f"home gives {len(answers.items)} candidates to an unknown visitor",
        },
    ]


def fingerprint(workspace: Workspace, seed: int) -> str:
    """A hash of what decides the numbers of a report or generation made from imported files.

    Events and items that came through the API since then do not change it: they are learned from
    when ``serendip train`` is called, not whenever something looks.
    """
    parts = {
        "code": __version__,
        "settings": workspace.settings.model_dump(mode="json"),
        "import": imported_digest(workspace),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _last_time(dataset: Dataset) -> float | None:
    return float(dataset.events.timestamps[-1]) if len(dataset.events) else None
