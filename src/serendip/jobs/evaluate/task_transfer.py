"""``serendip evaluate --alignment``: whether one retriever should serve all tasks, or several.

A retriever is trained for every set of tasks, on the first ``TRAINED_SHARE`` of the events.
Requests of the events up to ``TEST_FROM`` are the validation set, later ones the test set. Each
model is trained in a separate process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip import __version__
from serendip.data.arrays import BoolArray, IntArray
from serendip.data.dataset import Dataset, QueryExamples
from serendip.data.dataset_folder import open_dataset, save_dataset
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import RETRIEVAL_TASKS, Query
from serendip.data.splits import Split, Targets, temporal
from serendip.engine.workspace import WorkspaceLocation
from serendip.errors import DataError
from serendip.evaluate.full_ranking import rank_all
from serendip.evaluate.report.document import json_safe
from serendip.evaluate.report.page import render_alignment_page
from serendip.evaluate.runs import Values
from serendip.evaluate.task_transfer import TaskRanks, alignment_figures
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.evaluate import (
    DATASET,
    ENCODE,
    encode_dataset,
    read_evaluation_dataset,
)
from serendip.jobs.train.fit import Fitter, PreparedData
from serendip.models.retriever.config import Group, group_config
from serendip.models.retriever.model import Retriever
from serendip.runtime.atomic_files import write_text
from serendip.runtime.extras import require_training
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.timing import StageClock

TRAINED_SHARE, TEST_FROM = 0.8, 0.9
MAX_REQUESTS = 3_000
"""Largest number of requests of a task in validation and in test; one sample for all models."""

_SEED = 2
"""Seed of the synthetic queries of the requests; those for training have another seed."""


@dataclass(frozen=True, slots=True)
class GroupTask:
    """A retriever to be trained and evaluated.

    Args:
        workspace: of the settings.
        dataset: folder of its data at the moment of the command, the same for all groups.
        group: its tasks, in training and evaluation.
        seed: of the training.
    """

    workspace: WorkspaceLocation
    dataset: str
    group: Group
    seed: int

    def __str__(self) -> str:
        return f"{'+'.join(self.group)} (seed {self.seed})"


@dataclass(frozen=True, slots=True, eq=False)
class TaskRequests:
    """Validation and test requests of one task.

    Args:
        queries: T requests.
        items: (T,) int32 target items.
        users: (T,) external user ids.
        is_test: (T,) bool; False = validation.
    """

    queries: list[Query]
    items: IntArray
    users: NDArray[np.str_]
    is_test: BoolArray


def evaluate_group(task: GroupTask) -> list[TaskRanks]:
    """Train a retriever for a group of tasks and rank the targets of the requests of each task.

    The requests are the same for every model.
    """
    context = JobContext.open_in_task(task.workspace)
    dataset, settings, clock = open_dataset(Path(task.dataset)), context.settings, StageClock()
    split = temporal(dataset, TRAINED_SHARE)
    with scratch_folder() as scratch:
        fitter = Fitter.of(context, scratch)
        prepared = fitter.prepare(split.train, context.options)
        requests = build_task_requests(split, fitter, prepared, find_test_start(dataset))
    config = group_config(settings.models.retriever, task.group)
    with clock.stage("train"):
        model = Retriever(config).train(prepared.dataset, TrainOptions(task.seed))
    if split.new_items:
        new = fitter.encode_new_items(split.new_items, prepared.codebooks, prepared.fusion)
        model = model.with_late(new)
    return [
        TaskRanks(
            name,
            tuple(sorted(task.group)),
            task.seed,
            rank_requests(model, requests[name]),
            np.unique(requests[name].users, return_inverse=True)[1].reshape(-1).astype(np.intp),
            requests[name].is_test,
            clock.stages[0].cpu_s,
            model.num_parameters,
        )
        for name in task.group
    ]


def rank_requests(model: Retriever, requests: TaskRequests) -> Values:
    """Rank each target among all items that its request does not exclude: (T,)."""
    excluded = [query.exclude for query in requests.queries]
    return rank_all(
        lambda rows: model.score_all(requests.queries[rows]), requests.items, excluded
    ).ranks


def build_task_requests(
    split: Split, fitter: Fitter, prepared: PreparedData, test_from: float
) -> dict[str, TaskRequests]:
    """Build the requests of every task; the target is always the user's next item.

    home: the user's history; items of the history are excluded. similar: the last item of the
    history, nothing else; only that item is excluded. search: a synthetic query for the target that
    is not in the training data, and the history; nothing is excluded.
    """
    rows = _sample_targets(split.targets, test_from)
    home = [split.targets.queries()[row] for row in rows.tolist()]
    items, is_test = split.targets.items[rows], split.targets.times[rows] >= test_from
    users = np.asarray(split.targets.users)[rows]
    last = [query.history.item_nums[-1:] for query in home]
    similar = [Query("similar", source_items=item, exclude=item) for item in last]
    has_history = np.array([len(item) > 0 for item in last], np.bool_)
    examples, at = _write_test_queries(split, items, fitter, prepared)
    search = [
        replace(home[row], surface="search", text=text, text_vector=vector, exclude=items[:0])
        for row, text, vector in zip(at.tolist(), examples.texts, examples.vectors, strict=True)
    ]
    return {
        "home": TaskRequests(home, items, users, is_test),
        "similar": TaskRequests(
            [query for query in similar if len(query.source_items)],
            items[has_history],
            users[has_history],
            is_test[has_history],
        ),
        "search": TaskRequests(search, items[at], users[at], is_test[at]),
    }


def _sample_targets(targets: Targets, test_from: float) -> IntArray:
    """Rows of up to ``MAX_REQUESTS`` targets before and from ``test_from`` on, in their order."""
    random = np.random.default_rng(0)
    is_test = targets.times >= test_from
    parts = [np.flatnonzero(part) for part in (~is_test, is_test)]
    samples = [random.permutation(part)[:MAX_REQUESTS] for part in parts]
    return np.sort(np.concatenate(samples)).astype(np.int32)


def _write_test_queries(
    split: Split, items: IntArray, fitter: Fitter, prepared: PreparedData
) -> tuple[QueryExamples, IntArray]:
    """Synthetic queries (Q,) for the targets (T,), and the request (Q,) that each belongs to."""
    targets, counts = np.unique(items, return_counts=True)
    catalogue = Catalogue(split.catalogue[number] for number in targets.tolist())
    weights = counts.astype(np.int32)
    examples = fitter.write_queries(catalogue, weights, prepared.fusion, _SEED, len(items))
    train_queries = prepared.dataset.queries
    train_texts = set() if train_queries is None else set(train_queries.texts)
    is_new = np.array([text not in train_texts for text in examples.texts], np.bool_)
    # Each query goes to a random request for its item.
    order = np.argsort(items, kind="stable")
    first = np.searchsorted(items[order], targets)
    offset = np.random.default_rng(_SEED).integers(0, counts[examples.items])
    at = order[first[examples.items] + offset][is_new].astype(np.int32)
    texts = [text for text, new in zip(examples.texts, is_new, strict=True) if new]
    return QueryExamples(texts, examples.vectors[is_new], items[at]), at


def find_test_start(dataset: Dataset) -> float:
    """Unix seconds from which on requests are in the test set."""
    cut = temporal(dataset, TEST_FROM).cut
    assert cut is not None
    return cut


REPORT_JSON, REPORT_HTML = "alignment.json", "alignment.html"
SEEDS = 3


def align_workspace(context: JobContext, seeds: int = SEEDS) -> dict[str, Any]:
    """Train a retriever for every set of tasks and write ``reports/alignment.{json,html}``.

    Args:
        context: workspace, first seed, progress, device of the encoders, clock, and the executor
            that trains the models.
        seeds: number of seeds.

    Returns:
        the report as written.

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
        save_dataset(dataset, scratch / DATASET)
        with clock.stage(ENCODE):
            # Before all trainings, so that every process reads the vectors from the cache.
            encode_dataset(context)
        tasks = _tasks(location, scratch / DATASET, seed_numbers)
        with clock.stage("train and ask models"):
            found = options.executor.map(evaluate_group, tasks)
            answers = options.progress.track(found, "models", len(tasks))
            ranks = [task_ranks for answer in answers for task_ranks in answer]
    _require_requests(ranks)
    report: dict[str, Any] = json_safe(
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": __version__,
            "seeds": seed_numbers,
            "trained_share": TRAINED_SHARE,
            "test_from": TEST_FROM,
            "asked": _count_requests(ranks),
            **alignment_figures(ranks),
            "stages": clock.as_dicts(),
        }
    )
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(workspace.reports / REPORT_JSON, text)
    write_text(workspace.reports / REPORT_HTML, render_alignment_page(report))
    return report


def _tasks(location: WorkspaceLocation, dataset: Path, seeds: Sequence[int]) -> list[GroupTask]:
    """All groups, seed by seed; the group of all tasks first, as it trains longest."""
    groups = [group for size in (3, 2, 1) for group in combinations(RETRIEVAL_TASKS, size)]
    folder = os.fspath(dataset)
    return [GroupTask(location, folder, group, seed) for seed in seeds for group in groups]


def _require_requests(ranks: Sequence[TaskRanks]) -> None:
    """Raise an error if a task has no validation or no test requests."""
    for task_ranks in ranks:
        is_test = task_ranks.is_test
        if is_test.all() or not is_test.any():
            part = "validation" if is_test.any() else "test"
            raise DataError(
                f"the task {task_ranks.task!r} has no {part} requests.",
                "Collect more interactions; search needs items with text.",
            )


def _count_requests(ranks: Sequence[TaskRanks]) -> dict[str, dict[str, int]]:
    """Task -> number of requests and users of the test set."""
    return {
        task_ranks.task: {
            "requests": int(task_ranks.is_test.sum()),
            "users": len(np.unique(task_ranks.users[task_ranks.is_test])),
        }
        for task_ranks in ranks
    }
