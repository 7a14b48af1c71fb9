"""``serendip train``: the store's snapshot -> a fitted state -> a published generation.

What a generation must pass before it is published; the results stand in its manifest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing
from dataclasses import asdict, astuple, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import serendip
from serendip import __version__
from serendip.content.semantic_ids.kmeans import quality
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.data.snapshot import take_snapshot
from serendip.engine.generations import publish
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.jobs.import_files import imported_digest
from serendip.jobs.relevance.versions import (
    configured_version,
    current_model_name,
    load_relevance_model,
)
from serendip.jobs.rewrites.build import rewrites_of_state
from serendip.jobs.semantic_ids.build import build_ids
from serendip.jobs.semantic_ids.versions import IdVersion, current_version
from serendip.jobs.suggestions.build import (
    SuggestionBuilder,
    log_of,
    written_digest,
    written_queries,
)
from serendip.jobs.suggestions.ranker_data import Log, train_query_ranker
from serendip.jobs.train.carry_over import SPACE_FOLDER, PreviousCodes, id_facts, next_space
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker_actions import require_actions
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip.runtime.versions import Version

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


REPORT_JSON = "report.json"


def train_workspace(
    workspace: Workspace,
    options: TrainOptions,
    clock: StageClock,
) -> Version:
    """Fit everything on all data of the store and publish it.

    Args:
        workspace: where the data is and the generation goes.
        options: seed, progress and device.
        clock: collects what each stage cost.

    Raises:
        ConfigError: the ranker is to predict an action that does not occur.
        DataError: the catalogue is empty, or the new generation fails a gate; the published one
            stays.
    """
    with closing(workspace.open_store()) as store, clock.stage("snapshot"):
        item_version, event_seq = store.max_version(), store.max_seq()
        dataset = take_snapshot(store, workspace.settings.actions)
        log = log_of(store, dataset, workspace)
    if dataset.num_items == 0:
        raise DataError("the catalogue is empty.", "Import items first: `serendip import`.")
    require_actions(dataset, workspace.settings.ranker.actions)
    student = configured_version(workspace)
    version, earlier = _kept_ids(workspace, options)
    with tempfile.TemporaryDirectory() as scratch:
        fitter = replace(
            Fitter.of(workspace, Path(scratch), clock, options.device),
            version=version,
            earlier=earlier,
        )
        media = fitter.media_reports(dataset, options)
        state = fitter.fit(dataset, "all", options)
        if student is not None:
            with clock.stage("judge of matches"):
                items = dataset.catalogue.items
                state = state.with_judge(load_relevance_model(workspace, student, items, options))
        with clock.stage("suggested queries"):
            state, queries = _with_queries(state, log, workspace, options)
        with clock.stage("rewrites"):
            table, rewrites = rewrites_of_state(state, log, workspace, fitter.encoder, options)
            state = state.with_rewrites(table)
        made_from = fingerprint(workspace, options.seed)
        gates = _passed_gates(state, workspace, made_from)
        space, told = next_space(workspace.generations, state)
        facts = {
            "item_version": item_version,
            "event_seq": event_seq,
            "fingerprint": made_from,
            "seed": options.seed,
            **_facts_of(dataset),
            "semantic_ids": {
                **asdict(quality(state.features.codes, state.features.codebook_size)),
                **id_facts(version, earlier, state.features.codes, dataset.catalogue),
            },
            "space": told,
            "media": {name: report.as_dict() for name, report in media.items()},
            "student": student.name if student else None,
            "queries": queries,
            "rewrites": rewrites,
            "gates": gates,
            "settings": workspace.settings.learned_from(),
        }
        with clock.stage("publish"):
            return publish(workspace.generations, partial(_save, state, space), facts)


def _passed_gates(state: EngineState, workspace: Workspace, made_from: str) -> list[dict[str, Any]]:
    """Results of the gates.

    Raises:
        DataError: one is not passed.
    """
    gates = [
        *integrity_gates(state, workspace.settings.all_surfaces()["home"]),
        *report_gate(workspace.reports / REPORT_JSON, made_from),
    ]
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    if failed:
        raise DataError(
            f"the new generation fails {', '.join(map(str, failed))}; it is not published."
        )
    return gates


def _facts_of(dataset: Dataset) -> dict[str, Any]:
    """What a manifest tells of the data."""
    counts = {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "events": len(dataset.events),
        **_written_count(dataset),
    }
    return {"data_cut": _last_time(dataset), "counts": counts}


def _with_queries(
    state: EngineState, log: Log, workspace: Workspace, options: TrainOptions
) -> tuple[EngineState, dict[str, Any]]:
    """The state with verified queries and what ranks them, and what the manifest tells of both."""
    written = written_queries(workspace, state.catalogue)
    config = workspace.settings.queries
    builder = SuggestionBuilder(state.catalogue, state.counts, state.searcher, config, written)
    built = builder.build(log.searches, options.progress)
    ranker = train_query_ranker(built.table, state.searcher.titles, log, options.seed)
    told = {**built.report, "ranker_learned_from": ranker.learned_from}
    return state.with_queries(built.table, ranker), told


def _save(state: EngineState, space: VectorSpace | None, folder: Path) -> None:
    state.save(folder)
    if space is not None:
        space.save(folder / SPACE_FOLDER)


def _kept_ids(
    workspace: Workspace, options: TrainOptions
) -> tuple[IdVersion | None, PreviousCodes | None]:
    """The built IDs with everything new appended, if any, and the codes of the generation."""
    has_ids = current_version(workspace.semantic_ids) is not None
    version = build_ids(workspace, options)[0] if has_ids else None
    return version, PreviousCodes.of_current(workspace.generations, workspace.settings)


@cache
def code_digest() -> str:
    """SHA-256 over the package's own sources and the locked weights."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(serendip.__file__).parent
    for path in sorted((*package.rglob("*.py"), *package.rglob("*.lock"))):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def fingerprint(workspace: Workspace, seed: int) -> str:
    """A hash of what decides the numbers of a report or generation made from imported files.

    Events and items that came through the API since then do not change it: they are learned from
    when ``serendip train`` is called, not whenever something looks.
    """
    parts = {
        "code": code_digest(),
        "settings": workspace.settings.learned_from(),
        "import": imported_digest(workspace),
        "seed": seed,
        **_written_digest(workspace),
        **_versions(workspace),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _versions(workspace: Workspace) -> dict[str, str]:
    """Of the judge of matches, if a surface asks for it, and of queries that an LLM wrote."""
    asks = any(one.bad_matches is not None for one in workspace.settings.all_surfaces().values())
    student = current_model_name(workspace.students) if asks else ""
    found = {"student": student, "queries": written_digest(workspace)}
    return {name: version for name, version in found.items() if version}


def _written_digest(workspace: Workspace) -> dict[str, str]:
    """Of the texts in use that machines wrote; nothing at all where there are none."""
    with closing(workspace.open_store()) as store:
        active = [astuple(one) for one in store.written.active()]
    told = hashlib.sha256(json.dumps(active).encode()).hexdigest()
    return {"written": told} if active else {}


def _written_count(dataset: Dataset) -> dict[str, int]:
    """How many items carry such a text."""
    count = sum(bool(item.written) for item in dataset.catalogue.items)
    return {"written": count} if count else {}


def _last_time(dataset: Dataset) -> float | None:
    return float(dataset.events.timestamps[-1]) if len(dataset.events) else None
