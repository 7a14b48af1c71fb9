"""``serendip evaluate --alignment``: whether one retriever should serve all tasks, or several.

A retriever is trained for every set of tasks, on the first ``TRAINED_SHARE`` of the events.
Requests of the events up to ``TEST_FROM`` are the validation set, later ones the test set. Each
model is trained in a separate process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from serendip import __version__
from serendip.data.dataset import open_dataset, save_dataset
from serendip.data.events.repeats import Repeats
from serendip.data.query import RETRIEVAL_TASKS
from serendip.data.splits import temporal
from serendip.engine.workspace import WorkspaceLocation
from serendip.errors import DataError
from serendip.evaluate.report.document import json_safe, render_alignment_page
from serendip.evaluate.runs import Values, ranks_from_scores
from serendip.evaluate.task_transfer import TaskRanks, alignment_figures
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.evaluate import read_evaluation_dataset
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.requests import SurfaceRequests
from serendip.jobs.train.fit import Fitter
from serendip.models.retriever.config import Group, group_config
from serendip.models.retriever.model import Retriever
from serendip.runtime.atomic_files import scratch_folder, write_json, write_text
from serendip.runtime.extras import require_training
from serendip.runtime.progress import StageClock, TrainOptions

TRAINED_SHARE, TEST_FROM = 0.8, 0.9
BATCH = 512
MAX_REQUESTS = 6_000
"""Largest number of requests of a task in validation and test; one sample for all models."""


@dataclass(frozen=True, slots=True)
class GroupTask:
    """A retriever to be trained and evaluated.

    Args:
        dataset: folder of its data at the moment of the command, the same for all groups.
    """

    workspace: WorkspaceLocation
    dataset: str
    group: Group
    seed: int

    def __str__(self) -> str:
        return f"{'+'.join(self.group)} (seed {self.seed})"


def evaluate_group(task: GroupTask) -> list[TaskRanks]:
    """Train a retriever for a group of tasks and rank the targets of the requests of each task.

    The requests are the same for every model. Of several relevant items, as of a logged search, the
    first one is the target.
    """
    context = JobContext.of(task.workspace.open())
    dataset, settings, clock = open_dataset(Path(task.dataset)), context.settings, StageClock()
    split = temporal(dataset, TRAINED_SHARE)
    with scratch_folder() as scratch:
        fitter = Fitter(context, scratch)
        content = fitter.build_content(split.train, context.options)
        prepared = fitter.prepare(split.train, content, context.options)
    with clock.stage("train"):
        config = group_config(settings.models.retriever, task.group)
        model = Retriever(config).train(prepared, TrainOptions(task.seed))
    if split.new_items:
        new = fitter.encode_new_items(split.new_items, content.codebooks, content.fusion)
        model = model.with_late(new)
    builder = SurfaceRequestBuilder(
        *(split, split.targets, Repeats(), settings, lambda text: ""),
        *(lambda texts: fitter.encode_texts(texts, content.fusion), MAX_REQUESTS),
    )
    test_from, cpu_s = temporal(dataset, TEST_FROM).cut or np.inf, clock.stages[0].cpu_s
    return [
        TaskRanks(
            name,
            tuple(sorted(task.group)),
            task.seed,
            rank_targets(model, asked := builder.build(name)),
            asked.users,
            np.array([query.time >= test_from for query in asked.queries], np.bool_),
            cpu_s,
            model.num_parameters,
        )
        for name in task.group
    ]


def rank_targets(model: Retriever, asked: SurfaceRequests) -> Values:
    """(T,) ranks of the targets among all items that their requests do not exclude."""
    targets = np.array([items[0] for items in asked.relevant], np.int32)  # (T,)
    ranks = [np.empty(0)]
    for begin in range(0, len(asked), BATCH):
        rows = slice(begin, begin + BATCH)
        queries = asked.queries[rows]
        excluded = [query.exclude for query in queries]
        ranks.append(ranks_from_scores(model.score_all(queries), targets[rows], excluded))
    return np.concatenate(ranks)


REPORT_JSON, REPORT_HTML = "alignment.json", "alignment.html"
SEEDS = 3


def align_workspace(context: JobContext, seeds: int = SEEDS) -> dict[str, Any]:
    """Train a retriever for every set of tasks; write and return ``reports/alignment.{json,html}``.

    The context has the first of the seeds.

    Raises:
        DataError: there are too few interactions, or a task has no validation or test requests.
        ExtraMissing: a package of the extra ``train`` is not installed.
    """
    require_training()
    workspace, options, clock = context.workspace, context.options, context.clock
    dataset = read_evaluation_dataset(context)
    location = WorkspaceLocation.of(workspace)
    seed_numbers = [options.seed + index for index in range(seeds)]
    with scratch_folder(workspace.reports) as scratch:
        folder = scratch / "dataset"
        save_dataset(dataset, folder)
        # Before all trainings, so that every process reads the vectors from the cache.
        Fitter(context, scratch).encode_items(dataset, options)
        # Seed by seed; the group of all tasks first, as it trains longest.
        groups = [group for size in (3, 2, 1) for group in combinations(RETRIEVAL_TASKS, size)]
        tasks = [
            GroupTask(location, os.fspath(folder), group, seed)
            for seed in seed_numbers
            for group in groups
        ]
        with clock.stage("train and ask models"):
            found = options.executor.map(evaluate_group, tasks)
            answers = options.progress.track(found, "models", len(tasks))
            ranks = [task_ranks for answer in answers for task_ranks in answer]
    report: dict[str, Any] = json_safe(
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": __version__,
            "seeds": seed_numbers,
            "trained_share": TRAINED_SHARE,
            "test_from": TEST_FROM,
            "asked": {one.task: _count_test_requests(one) for one in ranks},
            **alignment_figures(ranks),
            "stages": clock.as_dicts(),
        }
    )
    write_json(workspace.reports / REPORT_JSON, report)
    write_text(workspace.reports / REPORT_HTML, render_alignment_page(report))
    return report


def _count_test_requests(ranks: TaskRanks) -> dict[str, int]:
    is_test = ranks.is_test
    if is_test.all() or not is_test.any():
        part = "validation" if is_test.any() else "test"
        raise DataError(
            f"the task {ranks.task!r} has no {part} requests.",
            "Collect more interactions; search needs items with text.",
        )
    return {"requests": int(is_test.sum()), "users": len(np.unique(ranks.users[is_test]))}
