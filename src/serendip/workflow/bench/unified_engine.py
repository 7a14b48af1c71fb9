"""The rows ``engine`` and ``lightgbm``: all sources of the engine, put in order by one ranker.

Both rankers order the same candidates by the same features, so they are asked in one pass. Neither
has seen a test target; the retriever is that of the row ``unified``, of the same seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.engine.feature_names import FEATURES
from serendip.engine.state import EngineState
from serendip.models.ranker import Ranker, RankerRows
from serendip.models.retriever import Retriever
from serendip.scale.options import TrainOptions
from serendip.scale.stages import StageClock, peak_memory_mb
from serendip.workflow.bench.engine_rows import (
    CANDIDATES,
    HELD_OUT,
    LEARNED,
    NEGATIVES,
    Orderer,
    held_out,
    learning_rows,
    ranks_of,
)
from serendip.workflow.bench.engine_state import SETTINGS, engine_facts, engine_state
from serendip.workflow.bench.rows import MODEL_FOLDER, prepared
from serendip.workflow.bench.sequences import read_sequences
from serendip.workflow.bench.spent import read_costs
from serendip.workflow.bench.trees import MISSING_TREES, Trees, trees_facts
from serendip.workflow.bench.trial import Asked
from serendip.workflow.bench.unified_rows import (
    UnifiedTask,
    catalogue_of,
    figures,
    make_unified,
    ranks_path,
    values_of,
)
from serendip.workflow.bench.unified_trial import UnifiedTrial, unified_trial

_SOURCES = "sources"


def make_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """The rows of any line of the table."""
    return _make_engine(task) if task.line.asks == "engine" else make_unified(task)


def rankers_facts() -> list[Any]:
    """What decides the rows of the engine beside the retriever, for digests."""
    sampled = {"learned": LEARNED, "negatives": NEGATIVES, "held_out_steps": HELD_OUT}
    return [engine_facts(), FEATURES, sampled, trees_facts()]


def can_be_made(
    tasks: Sequence[UnifiedTask], with_trees: bool
) -> tuple[list[UnifiedTask], list[dict[str, Any]]]:
    """The tasks without models that need lightgbm, if it is not here; and these, with a reason."""
    if with_trees:
        return list(tasks), []
    missing = [
        {"model": name, "seed": task.seed, "reason": MISSING_TREES}
        for task in tasks
        for name in task.line.beside
    ]
    return [replace(task, line=replace(task.line, beside=())) for task in tasks], missing


def _make_engine(task: UnifiedTask) -> list[dict[str, Any]]:
    dataset = read_sequences(Path(task.data))
    trial = unified_trial(dataset, np.load(task.words, allow_pickle=False))
    content = np.load(task.content, allow_pickle=False)
    prepared(Path(task.folder), task.digest)
    retriever = Retriever.open(Path(task.asked) / MODEL_FOLDER)
    learned, judged = held_out(trial.validation, task.seed)
    clock = StageClock()
    with tempfile.TemporaryDirectory() as scratch:
        with clock.stage(_SOURCES):
            state = engine_state(
                trial.sequences,
                content,
                catalogue_of(task, trial),
                retriever,
                task.seed,
                Path(scratch) / "words",
            )
            rows = learning_rows(learned, SETTINGS.all_surfaces(), state, task.seed)
        orderers, sizes = _trained(task, rows, clock)
        known, _ = read_costs(Path(task.asked))
        costs = {
            name: {
                "cpu_s": round(known + _seconds(clock, _SOURCES) + _seconds(clock, name), 3),
                "params": retriever.num_parameters + size,
            }
            for name, size in sizes.items()
        }
        return _measured(task, trial, judged, state, orderers, costs)


def _trained(
    task: UnifiedTask, rows: RankerRows, clock: StageClock
) -> tuple[dict[str, Orderer], dict[str, int]]:
    """Model -> what orders its candidates, and how many numbers that has; a stage for each."""
    orderers: dict[str, Orderer] = {}
    sizes: dict[str, int] = {}
    with clock.stage(task.line.model):
        ranker = Ranker(SETTINGS.ranker).train(rows, FEATURES, TrainOptions(task.seed))
    orderers[task.line.model] = lambda features, tasks: ranker.predict(features, tasks)[:, 0]
    sizes[task.line.model] = ranker.num_parameters
    for name in task.line.beside:
        with clock.stage(name):
            trees = Trees(rows, task.seed)
        orderers[name], sizes[name] = trees, trees.num_parameters
    return orderers, sizes


def _measured(
    task: UnifiedTask,
    trial: UnifiedTrial,
    judged: Mapping[str, Asked],
    state: EngineState,
    orderers: Mapping[str, Orderer],
    costs: Mapping[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """A row per task and orderer, in the order of the task's keys; leaves the ranks."""
    rows = []
    for name in task.line.answers:
        clock, surface = StageClock(), SETTINGS.all_surfaces()[name]
        ranks = ranks_of(surface, trial.tests[name], state, orderers, clock)
        valid = ranks_of(surface, judged[name], state, orderers, StageClock())
        for key in (key for key in task.keys if key["task"] == name):
            model = str(key["model"])
            path = ranks_path(Path(task.folder).parent, key)
            path.parent.mkdir(exist_ok=True)
            np.save(path, ranks[model], allow_pickle=False)
            score = _seconds(clock, CANDIDATES) + _seconds(clock, model)
            own = figures(values_of(ranks[model]), values_of(valid[model]))
            row = {**key, **own, "score_cpu_s": round(score, 3)}
            rows.append({**row, "peak_mb": round(peak_memory_mb(), 1), **costs[model]})
    return rows


def _seconds(clock: StageClock, name: str) -> float:
    return sum(stage.cpu_s for stage in clock.stages if stage.name == name)
