"""One split judged: fit on its past, ask every system about its future.

Runs in a process of its own, so it takes only plain values and returns arrays. The systems are
the engine's home surface as it would be served, and each of its recommenders alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, leave_last_out, temporal
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import run
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.scale.options import TrainOptions
from serendip.scale.stages import StageClock
from serendip.workflow.fit import Fitter

ENGINE = "engine"
K = 10
BATCH = 64


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """What one process has to do.

    Args:
        workspace: folder of the workspace.
        fraction: where to cut the time-ordered events; None = leave the last one out.
        until: where the targets end, as a fraction of the events.
        seed: root of all randomness.
    """

    workspace: str
    fraction: float | None
    until: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSplit:
    """Answers of every system to the targets of one split, in the split's item numbers.

    Args:
        name: of the split.
        lists: system -> (T, 10) int32, padded with -1.
        targets: (T,) int32.
        users: (T,) external user ids.
        flags: named (T,) bool columns for the slices.
        counts: (N,) int32 interactions before the cut, per item of ``item_ids``.
        item_ids: external ids by number.
        facts: cut, sizes and what the stages cost.
    """

    name: str
    lists: Mapping[str, IntArray]
    targets: IntArray
    users: Sequence[str]
    flags: Mapping[str, BoolArray]
    counts: IntArray
    item_ids: Sequence[str]
    facts: Mapping[str, Any]


def judge(task: JudgeTask) -> JudgedSplit:
    """Fit on the past of a split and collect every system's answers about its future."""
    clock = StageClock()
    workspace = Workspace.open(Path(task.workspace))
    split = _split_of(task, workspace)
    with tempfile.TemporaryDirectory() as scratch:
        settings = workspace.settings
        fitter = Fitter.of(workspace, Path(scratch), StageClock())
        with clock.stage(f"fit {split.name}"):
            past = fitter.fit(split.train, "past", TrainOptions(seed=task.seed))
            state = fitter.with_new_items(past, split)
            seconds = train_seconds(fitter.clock)
            del fitter  # answers need neither weights nor the cache
        with clock.stage(f"answer {split.name}"):
            lists = answers(split.targets.queries(), state, settings)
    counts = np.zeros(state.num_items, np.int32)
    counts[: len(past.counts)] = past.counts
    facts = {
        "fraction": task.fraction,
        "cut": split.cut,
        "train_events": len(split.train.events),
        "targets": len(split.targets),
        "users": len(set(split.targets.users)),
        "train_items": split.train.num_items,
        "new_items": len(split.new_items),
        "stages": clock.as_dicts(),
        "seconds": seconds,
    }
    return JudgedSplit(
        split.name,
        lists,
        split.targets.items,
        list(split.targets.users),
        split.flags(),
        counts,
        list(split.catalogue.vocabulary.ids),
        facts,
    )


def train_seconds(clock: StageClock) -> dict[str, float]:
    """System -> CPU seconds of its last training; the engine's is everything together."""
    prefix = "train "
    stages = [stage for stage in clock.stages if stage.name.startswith(prefix)]
    single = {stage.name.removeprefix(prefix): stage.cpu_s for stage in stages}
    single.pop("ranker", None)
    return {**single, ENGINE: round(sum(stage.cpu_s for stage in stages), 3)}


def answers(
    queries: Sequence[Query], state: EngineState, settings: Settings
) -> dict[str, IntArray]:
    """System -> top 10 (T, 10): the engine's home surface, then each recommender alone."""
    # What is judged has no judge of matches: its student may have learned from later labels.
    home = settings.all_surfaces()["home"].model_copy(update={"bad_matches": None})
    rows: dict[str, list[IntArray]] = {name: [] for name in (ENGINE, *state.models)}
    for begin in range(0, len(queries), BATCH):
        part = queries[begin : begin + BATCH]
        found = [result.items for result in run(part, home, state)]
        rows[ENGINE].append(_padded(found))
        for name, model in state.models.items():
            rows[name].append(_padded(model.recommend(part, K)))
    return {name: np.concatenate(lists) for name, lists in rows.items()}


def _padded(lists: Sequence[ItemList]) -> IntArray:
    table = np.full((len(lists), K), -1, dtype=np.int32)
    for row, items in enumerate(lists):
        best = items.item_nums[:K]
        table[row, : len(best)] = best
    return table


def _split_of(task: JudgeTask, workspace: Workspace) -> Split:
    """The split that a task judges."""
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, workspace.settings.actions)
    if task.fraction is None:
        return leave_last_out(dataset)
    return temporal(dataset, task.fraction, task.until)
