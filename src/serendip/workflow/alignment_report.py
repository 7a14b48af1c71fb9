"""``serendip evaluate --alignment``: should one retriever serve all tasks, or several?"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np

from serendip import __version__
from serendip.data.durable import write_durably
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.report.document import json_safe
from serendip.evaluate.report.page import render_alignment_page
from serendip.evaluate.task_transfer import TaskRanks, alignment_figures
from serendip.models.retriever_groups_config import ALL_TASKS
from serendip.scale.executor import Executor, LocalExecutor
from serendip.scale.options import TrainOptions
from serendip.scale.stages import StageClock
from serendip.workflow.alignment_judging import (
    TEST_FROM,
    TRAINED_SHARE,
    GroupAnswers,
    GroupTask,
    judge_group,
)
from serendip.workflow.evaluation import EncodeTask, encode_once, judged_dataset

REPORT_JSON, REPORT_HTML = "alignment.json", "alignment.html"
SEEDS = 3


def align_workspace(
    workspace: Workspace,
    options: TrainOptions,
    clock: StageClock,
    executor: Executor | None = None,
    seeds: int = SEEDS,
) -> dict[str, Any]:
    """Train a retriever for every set of tasks and write ``reports/alignment.{json,html}``.

    Args:
        workspace: whose data and settings are judged.
        options: the first seed, progress, device of the encoders.
        clock: collects what each stage cost.
        executor: where the models are trained; two local processes by default.
        seeds: how many, from the first on.

    Returns:
        the report as written.

    Raises:
        DataError: there are too few interactions, or none that a task could be asked about.
    """
    judged_dataset(workspace)
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
    workspace.reports.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    write_durably(workspace.reports / REPORT_JSON, text)
    write_durably(workspace.reports / REPORT_HTML, render_alignment_page(report))
    return report


def _tasks(folder: str, seeds: Sequence[int]) -> list[GroupTask]:
    """Seed by seed; the unified model first, which takes longest."""
    groups = [group for size in (3, 2, 1) for group in combinations(ALL_TASKS, size)]
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
