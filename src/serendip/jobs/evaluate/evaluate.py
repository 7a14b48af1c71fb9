"""``serendip evaluate``: evaluates splits in parallel, pools their users and writes the report.

By default one temporal split is made, the last of ``[evaluation] cuts``, with a sample of users
where there are many targets. The full evaluation makes all cuts, for all users. The report names
what was made and what was left out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from serendip import __version__
from serendip.content.features import encode_items
from serendip.data import Dataset
from serendip.data.dataset_folder import save_dataset
from serendip.engine.workspace import REPORT_HTML, REPORT_JSON, Workspace, WorkspaceLocation
from serendip.errors import DataError
from serendip.evaluate.new_items import measure_exploration
from serendip.evaluate.report.document import ReportFigures, build_report, render_page
from serendip.evaluate.surface_quality import Slice, SurfaceRuns, measure_surface
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.evaluate.split import SplitAnswers, SplitTask, evaluate_split
from serendip.jobs.lists.section import measure_lists
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.ranker.labels import require_actions
from serendip.runtime.atomic_files import write_json, write_text
from serendip.runtime.executor import IN_PROCESS
from serendip.runtime.extras import require_training
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.timing import StageCost

MIN_EVENTS = 100
"""With fewer interactions a split leaves too little for training or testing."""

MIN_EVENTS_BESIDE = 2_000
"""With fewer interactions the start of a process costs more than a split, which is then evaluated
in this one."""

MAX_TARGETS = 10_000
"""Largest number of targets of the default evaluation. Intervals of the two thousand users or so
that they belong to are narrow; every further target costs as much as a request."""

DATASET = "dataset"
"""Folder, among the intermediate files, of the data at the moment of the command."""

ENCODE, JUDGE, LISTS, REPORT = "content vectors", "judge all splits", "lists", "report"


def evaluate_workspace(context: JobContext, full: bool = False) -> dict[str, Any]:
    """Evaluate the engine and its baselines and write ``reports/report.{json,html}``.

    Args:
        context: workspace, seed, progress and the executor of the splits, whose stages are added
            to its clock.
        full: all cuts and all users, instead of a sample of the last cut.

    Returns:
        the report as written.

    Raises:
        ConfigError: a target action of the ranker does not occur in its training data.
        DataError: there are too few interactions.
        ExtraMissing: a package of the extra ``train`` is not installed.
        StorageError: versions of what commands built are not here, and the storage is out of reach.
    """
    workspace, options = context.workspace, context.options
    clock = context.clock
    require_training()
    dataset = read_evaluation_dataset(context)
    require_actions(dataset, workspace.settings.ranker.actions)
    # Before hours of work: it reads versions that a storage may have, which may be away later.
    fingerprint = compute_fingerprint(workspace, options.seed)
    with scratch_folder(workspace.reports) as scratch:
        save_dataset(dataset, scratch / DATASET)
        made, left_out = plan_splits(workspace, scratch / DATASET, options.seed, full)
        answers = _evaluate_splits(context, made)
    with clock.stage(LISTS):
        lists = measure_lists(workspace, dataset, options.seed)
    with clock.stage(REPORT):
        newest, pooled = answers[0], _pool_splits([split.runs for split in reversed(answers)])
        cuts = [{k: v for k, v in split.facts.items() if k != "stages"} for split in answers]
        temporal = {
            **asdict(measure_surface(pooled, options.seed)),
            "cuts": cuts[::-1],
            "seconds": newest.facts["seconds"],
        }
        counts = {
            "items": dataset.num_items,
            "users": dataset.num_users,
            "interactions": len(dataset.events),
            "likes": int(dataset.events.liked.sum()),
        }
        splits = {
            "made": [split.name for split in answers],
            "left_out": [task.name for task in left_out],
            "sampled": {
                split.name: {name: split.facts[name] for name in ("users", "all_users")}
                for split in answers
                if split.facts["targets"] < split.facts["all_targets"]
            },
        }
        figures = ReportFigures(
            protocols={"temporal": temporal},
            data={"counts": counts, "checks": check_workspace(workspace)},
            splits=splits,
            semantic_ids=newest.codes,
            surfaces=newest.surfaces,
            lists=lists,
            exploration=measure_exploration(dataset.requests, options.seed),
            new_items=newest.new_items,
            reasons=newest.faithfulness,
            decisions=newest.decisions,
            stages=clock.as_dicts(),
        )
        report = build_report(
            figures,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            code_version=__version__,
            seed=options.seed,
        )
        report["fingerprint"] = fingerprint
        write_json(workspace.reports / REPORT_JSON, report)
        write_text(workspace.reports / REPORT_HTML, render_page(report))
    return report


def read_evaluation_dataset(context: JobContext) -> Dataset:
    """The dataset of a report, with enough interactions.

    Raises:
        DataError: there are fewer than ``MIN_EVENTS``.
    """
    dataset = context.dataset
    if len(dataset.events) < MIN_EVENTS:
        raise DataError(
            f"{len(dataset.events)} interactions are too few for a report.",
            f"Collect at least {MIN_EVENTS}, or run `serendip train`, which needs no report.",
        )
    return dataset


def plan_splits(
    workspace: Workspace, dataset: Path, seed: int, full: bool
) -> tuple[list[SplitTask], list[SplitTask]]:
    """The splits to make, the longest first, and those that only the full evaluation makes.

    Args:
        workspace: that is evaluated.
        dataset: folder of its data.
        seed: root of all randomness.
        full: whether all are to be made.
    """
    cuts = sorted(workspace.settings.evaluation.cuts)
    location = WorkspaceLocation.of(workspace)
    folder, limit = os.fspath(dataset), None if full else MAX_TARGETS
    tasks = [
        SplitTask(location, folder, cut, until, seed, limit)
        for cut, until in zip(cuts, [*cuts[1:], 1.0], strict=True)
    ]
    # The longest first, so that parallel processes end at about the same time.
    tasks.reverse()
    tasks[0] = replace(tasks[0], surfaces=True)
    return (tasks, []) if full else (tasks[:1], tasks[1:])


def _evaluate_splits(context: JobContext, tasks: Sequence[SplitTask]) -> list[SplitAnswers]:
    """Evaluate the splits, those of many events side by side, and add their stages to the clock."""
    clock = context.clock
    executor = context.options.executor
    if executor.is_local and len(context.dataset.events) < MIN_EVENTS_BESIDE:
        executor = IN_PROCESS
    if len(tasks) > 1:
        with clock.stage(ENCODE):
            encode_dataset(context)
    with clock.stage(JUDGE):
        found = executor.map(evaluate_split, tasks)
        answers = list(clock.progress.track(found, JUDGE, len(tasks)))
    for split in answers:
        for stage in split.facts["stages"]:
            clock.stages.append(StageCost(**stage))
            clock.on_end(clock.stages[-1])
    return answers


def encode_dataset(context: JobContext) -> None:
    """Fill the vector cache of a workspace before several processes read it."""
    items, fields = context.dataset.catalogue.items, context.settings.content.fields
    encode_items(items, context.encoder, context.vectors, fields, context.media, context.options)


def _pool_splits(splits: Sequence[SurfaceRuns]) -> SurfaceRuns:
    """Pool the lists of splits; what is new and popular is that of the last one."""
    relevant = [items for runs in splits for items in runs.relevant]
    begin, rows_of = 0, defaultdict[str, list[int]](list)
    for runs in splits:
        for name, part in runs.slices.items():
            rows_of[name] += (part.rows + begin).tolist()
        begin += len(runs)
    newest = splits[-1]
    return replace(
        newest,
        relevant=relevant,
        users=np.concatenate([runs.users for runs in splits]),
        slices={
            name: Slice(np.array(rows, np.intp), [relevant[row] for row in rows])
            for name, rows in rows_of.items()
        },
        lists={
            name: np.concatenate([runs.lists[name] for runs in splits]) for name in newest.lists
        },
        possible=sum(runs.possible for runs in splits),
    )
