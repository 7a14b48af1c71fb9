"""``serendip evaluate --alignment``: should one retriever serve all tasks, or several?

Retrievers of some of the tasks, each trained on the past and asked about the future.

The past ends where ``TRAINED_SHARE`` of the events have happened; requests up to ``TEST_FROM`` are
for validation, later ones for the test. A process of its own trains one model.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
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
from serendip.data.item import Catalogue
from serendip.data.query import TASKS, Query
from serendip.data.splits import Split, Targets, temporal
from serendip.errors import DataError
from serendip.evaluate.full_ranking import rank_all
from serendip.evaluate.report.document import json_safe
from serendip.evaluate.report.page import render_alignment_page
from serendip.evaluate.runs import Values
from serendip.evaluate.task_transfer import TaskRanks, alignment_figures
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.evaluate import EncodeTask, encode_once, judged_dataset
from serendip.jobs.train.fit import Fitter, Prepared
from serendip.models.retriever.config import Group, group_config
from serendip.models.retriever.model import Retriever
from serendip.runtime.atomic_files import write_text
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock

TRAINED_SHARE, TEST_FROM = 0.8, 0.9
MOST_ASKED = 3_000
"""Requests of a task, at most, for validation and for the test each; drawn once."""

_SEED = 2
"""Of the written queries that are asked; those that are learned have another one."""


@dataclass(frozen=True, slots=True)
class GroupTask:
    """A model to be trained and asked.

    Args:
        workspace: folder of the workspace.
        group: tasks that it learns, and that it is asked.
        seed: of its training.
    """

    workspace: str
    group: Group
    seed: int

    def __str__(self) -> str:
        return f"{'+'.join(self.group)} (seed {self.seed})"


@dataclass(frozen=True, slots=True, eq=False)
class TaskRequests:
    """What is asked of one task.

    Args:
        queries: T requests.
        items: (T,) int32 the item that came next.
        users: (T,) external ids of who asked.
        is_test: (T,) bool; the others are for validation.
    """

    queries: list[Query]
    items: IntArray
    users: NDArray[np.str_]
    is_test: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class GroupAnswers:
    """Where a model ranked what came next; the same requests for every model.

    Args:
        task: what was trained.
        ranks: task -> (T,) 1-based ranks.
        requests: task -> users (T,) and is_test (T,).
        cpu_s: of the training.
        params: learned numbers.
    """

    task: GroupTask
    ranks: Mapping[str, Values]
    requests: Mapping[str, tuple[NDArray[np.str_], BoolArray]]
    cpu_s: float
    params: int


def judge_group(task: GroupTask) -> GroupAnswers:
    """Train a group's model on the past, ask it the requests of its tasks."""
    context = JobContext.open(Path(task.workspace))
    dataset, settings, clock = context.dataset, context.settings, StageClock()
    split = temporal(dataset, TRAINED_SHARE)
    with tempfile.TemporaryDirectory() as scratch:
        fitter = Fitter.of(context, Path(scratch))
        prepared = fitter.prepare(split.train, context.options)
        asked = requests_of(split, fitter, prepared, asked_from(dataset))
    config = group_config(settings.models.retriever, task.group)
    with clock.stage("train"):
        model = Retriever(config).train(prepared.dataset, TrainOptions(task.seed))
    if split.new_items:
        new = fitter.features_of(split.new_items, prepared.codebooks, prepared.fusion)
        model = model.with_items(new)
    return GroupAnswers(
        task,
        {name: ranks_of(model, asked[name]) for name in task.group},
        {name: (asked[name].users, asked[name].is_test) for name in task.group},
        clock.stages[0].cpu_s,
        model.num_parameters,
    )


def ranks_of(model: Retriever, requests: TaskRequests) -> Values:
    """(T,) ranks of the targets among all items that a request does not exclude."""
    excluded = [query.exclude for query in requests.queries]
    found = rank_all(lambda rows: model.score_all(requests.queries[rows]), requests.items, excluded)
    return found.ranks


def requests_of(
    split: Split, fitter: Fitter, prepared: Prepared, test_from: float
) -> dict[str, TaskRequests]:
    """What every task is asked.

    home: the user's whole past, for the next item. similar: the last item of that past and nothing
    else; only that item is left out of the answer. search: words written for the next item, which
    training has not seen, and the past; nothing is left out.
    """
    rows = _drawn(split.targets, test_from)
    home = [split.targets.queries()[row] for row in rows.tolist()]
    items, is_test = split.targets.items[rows], split.targets.times[rows] >= test_from
    users = np.asarray(split.targets.users)[rows]
    last = [query.history.item_nums[-1:] for query in home]
    similar = [Query("similar", source_items=item, exclude=item) for item in last]
    has_past = np.array([len(item) > 0 for item in last], np.bool_)
    words, at = _written(split, items, fitter, prepared)
    search = [
        replace(home[row], surface="search", text=text, text_vector=vector, exclude=items[:0])
        for row, text, vector in zip(at.tolist(), words.texts, words.vectors, strict=True)
    ]
    with_past = [query for query, is_there in zip(similar, has_past, strict=True) if is_there]
    return {
        "home": TaskRequests(home, items, users, is_test),
        "similar": TaskRequests(with_past, items[has_past], users[has_past], is_test[has_past]),
        "search": TaskRequests(search, items[at], users[at], is_test[at]),
    }


def _drawn(targets: Targets, test_from: float) -> IntArray:
    """Rows of at most ``MOST_ASKED`` targets before and after ``test_from``, in their order."""
    random = np.random.default_rng(0)
    later = targets.times >= test_from
    parts = [np.flatnonzero(part) for part in (~later, later)]
    drawn = [random.permutation(part)[:MOST_ASKED] for part in parts]
    return np.sort(np.concatenate(drawn)).astype(np.int32)


def _written(
    split: Split, items: IntArray, fitter: Fitter, prepared: Prepared
) -> tuple[QueryExamples, IntArray]:
    """Queries (Q,) for the items (T,) of requests, and for which request (Q,) each is."""
    wanted, counts = np.unique(items, return_counts=True)
    asked = Catalogue(split.catalogue[number] for number in wanted.tolist())
    weights = counts.astype(np.int32)
    written = fitter.written_queries(asked, weights, prepared.fusion, _SEED, len(items))
    learned = prepared.dataset.queries
    known = set() if learned is None else set(learned.texts)
    kept = np.array([text not in known for text in written.texts], np.bool_)
    order = np.argsort(items, kind="stable")
    first = np.searchsorted(items[order], wanted)
    place = np.random.default_rng(_SEED).integers(0, counts[written.items])
    at = order[first[written.items] + place][kept].astype(np.int32)
    texts = [text for text, is_new in zip(written.texts, kept, strict=True) if is_new]
    return QueryExamples(texts, written.vectors[kept], items[at]), at


def asked_from(dataset: Dataset) -> float:
    """Unix seconds from which requests are of the test."""
    cut = temporal(dataset, TEST_FROM).cut
    assert cut is not None
    return cut


REPORT_JSON, REPORT_HTML = "alignment.json", "alignment.html"
SEEDS = 3


def align_workspace(
    context: JobContext, executor: Executor | None = None, seeds: int = SEEDS
) -> dict[str, Any]:
    """Train a retriever for every set of tasks and write ``reports/alignment.{json,html}``.

    Args:
        context: workspace, the first seed, progress, device of the encoders, clock.
        executor: where the models are trained; two local processes by default.
        seeds: how many, from the first on.

    Returns:
        the report as written.

    Raises:
        DataError: there are too few interactions, or none that a task could be asked about.
    """
    workspace, options, clock = context.workspace, context.options, context.clock
    judged_dataset(context)
    executor, folder = executor or LocalExecutor(), os.fspath(workspace.folder)
    with clock.stage("content vectors and codes"):
        # Once and first, so that every process finds the vectors in the cache.
        next(iter(executor.map(encode_once, [EncodeTask(folder, options)])))
    numbers = [options.seed + more for more in range(seeds)]
    tasks = _tasks(folder, numbers)
    with clock.stage("train and ask models"):
        found = executor.as_finished(judge_group, tasks)
        answers = list(options.progress.track(found, "models", len(tasks)))
    order = {str(task): place for place, task in enumerate(tasks)}
    answers.sort(key=lambda one: order[str(one.task)])
    ranks = [one for answer in answers for one in _task_ranks(answer)]
    _require_requests(ranks)
    report: dict[str, Any] = json_safe(
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": __version__,
            "seeds": numbers,
            "trained_share": TRAINED_SHARE,
            "test_from": TEST_FROM,
            "asked": _asked(ranks),
            **alignment_figures(ranks),
            "stages": clock.as_dicts(),
        }
    )
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(workspace.reports / REPORT_JSON, text)
    write_text(workspace.reports / REPORT_HTML, render_alignment_page(report))
    return report


def _tasks(folder: str, seeds: Sequence[int]) -> list[GroupTask]:
    """Seed by seed; the unified model first, which takes longest."""
    groups = [group for size in (3, 2, 1) for group in combinations(TASKS, size)]
    return [GroupTask(folder, group, seed) for seed in seeds for group in groups]


def _task_ranks(answer: GroupAnswers) -> list[TaskRanks]:
    found = []
    for name, ranks in answer.ranks.items():
        users, is_test = answer.requests[name]
        numbers = np.unique(users, return_inverse=True)[1].reshape(-1)
        task = answer.task
        found.append(
            TaskRanks(
                name,
                tuple(sorted(task.group)),
                task.seed,
                ranks,
                numbers.astype(np.intp),
                is_test,
                answer.cpu_s,
                answer.params,
            )
        )
    return found


def _require_requests(ranks: Sequence[TaskRanks]) -> None:
    for one in ranks:
        if one.is_test.all() or not one.is_test.any():
            raise DataError(
                f"nothing can be asked about {one.task}, for validation or for the test.",
                "Collect more interactions; search needs items with text.",
            )


def _asked(ranks: Sequence[TaskRanks]) -> dict[str, dict[str, int]]:
    """Task -> requests and users of the test."""
    return {
        one.task: {
            "requests": int(one.is_test.sum()),
            "users": len(np.unique(one.users[one.is_test])),
        }
        for one in ranks
    }
