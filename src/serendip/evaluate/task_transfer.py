"""Task transfer in multi-task training: pairwise transfer, the best task grouping, and advice.

``TaskModels`` computes the transfer between tasks and, for each number of models, the best grouping
of the tasks: that with the highest mean relative gain over the specialists (single-task models with
the same budget) on validation. Its metrics are reported on the test set.

The recommendation is the smallest number of models with which no task loses more than ``HARM`` of
its validation nDCG@10 against its specialist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimate, per_user
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.number_format import percent, seconds
from serendip.evaluate.runs import Groups, Values

Row = Mapping[str, Any]
Group = tuple[str, ...]

LABELS = ("R@10", "N@10", "R@100")
MAIN = "N@10"
UNIFIED, SPECIALIST, PAIR = "unified", "specialist", "pair"
HARM = 0.01
"""Largest relative loss of a task on validation that the recommendation accepts."""


class TaskModels:
    """Results of models by the group of tasks on which they were trained; means over seeds.

    Each row is a model's, on all tasks of its group and no others.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        tasks_of_line: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            tasks_of_line[row["line"]].add(row["task"])
        groups = {line: tuple(sorted(tasks)) for line, tasks in tasks_of_line.items()}
        self._rows: dict[tuple[Group, str], list[Row]] = defaultdict(list)
        for row in rows:
            self._rows[groups[row["line"]], row["task"]].append(row)
        self._groups = set(groups.values())
        self.tasks: Group = tuple(sorted({task for group in self._groups for task in group}))

    def transfer(self) -> dict[str, dict[str, float]]:
        """Task -> other task -> relative change of the task's N@10 if both are trained jointly."""
        found: dict[str, dict[str, float]] = {task: {} for task in self.tasks}
        for task, other in permutations(self.tasks, 2):
            pair = (*sorted((task, other)),)
            if pair in self._groups:
                found[task][other] = self._gain(pair, task, MAIN)
        return found

    def groupings(self) -> dict[str, dict[str, Any]]:
        """Number of models -> best grouping of the tasks with it: its metrics and costs."""
        best: dict[str, dict[str, Any]] = {}
        for split in _list_splits(self.tasks):
            if self._groups.issuperset(split):
                candidate, count = self._describe_split(split), str(len(split))
                if count not in best or candidate["valid_gain"] > best[count]["valid_gain"]:
                    best[count] = candidate
        return best

    def _describe_split(self, split: Sequence[Group]) -> dict[str, Any]:
        members = [(group, task) for group in split for task in group]
        gains = {task: self._gain(group, task, f"valid_{MAIN}") for group, task in members}
        return {
            "groups": [list(group) for group in split],
            "valid_gain": float(np.mean(list(gains.values()))),
            "valid_relative": gains,
            "relative": {task: self._gain(group, task, MAIN) for group, task in members},
            "cpu_s": sum(self._mean(group, group[0], "cpu_s") for group in split),
            "params": sum(self._mean(group, group[0], "params") for group in split),
            "models": len(split),
        }

    def _gain(self, group: Group, task: str, label: str) -> float:
        """Relative gain over the specialist; 0 if that has 0."""
        specialist = self._mean((task,), task, label)
        return self._mean(group, task, label) / specialist - 1.0 if specialist else 0.0

    def _mean(self, group: Group, task: str, label: str) -> float:
        return float(np.mean([row[label] for row in self._rows[group, task]]))


def _list_splits(tasks: Group) -> Iterator[list[Group]]:
    if not tasks:
        yield []
        return
    first, rest = tasks[0], tasks[1:]
    for split in _list_splits(rest):
        yield [(first,), *split]
        for index, group in enumerate(split):
            yield [*split[:index], (first, *group), *split[index + 1 :]]


_METRICS = (Recall(10), NDCG(10), Recall(100))
_COLUMN = LABELS.index(MAIN)


@dataclass(frozen=True, slots=True, eq=False)
class TaskRanks:
    """Ranks of a model for the requests of one task.

    Args:
        ranks: (T,) ranks of the targets.
        users: (T,) user numbers, 0 .. U - 1.
        is_test: (T,) bool; False = validation.
    """

    task: str
    group: tuple[str, ...]
    seed: int
    ranks: Values
    users: Groups
    is_test: BoolArray
    cpu_s: float
    params: int

    @property
    def model(self) -> str:
        """``unified``, ``pair`` or ``specialist``."""
        return {1: SPECIALIST, 2: PAIR}.get(len(self.group), UNIFIED)

    def per_user(self, test: bool) -> Values:
        """Means of the metrics over the requests of each user: (U, 3)."""
        rows = self.is_test == test  # (T,)
        values = np.stack([metric.of_ranks(self.ranks[rows]) for metric in _METRICS], axis=1)
        users = np.unique(self.users[rows], return_inverse=True)[1].reshape(-1)
        return per_user(values, users)

    def row(self) -> dict[str, Any]:
        """Convert to a row of results."""
        test, valid = (self.per_user(test).mean(0) for test in (True, False))
        return {
            "task": self.task,
            "model": self.model,
            "line": "+".join(self.group),
            "seed": self.seed,
            **dict(zip(LABELS, test.tolist(), strict=True)),
            "valid_N@10": float(valid[_COLUMN]),
            "cpu_s": self.cpu_s,
            "params": self.params,
        }


def alignment_figures(answers: Sequence[TaskRanks]) -> dict[str, Any]:
    """Compute ``rows``, ``models``, ``comparisons``, ``transfer``, ``grouping``,
    ``recommendation``.

    Answers are those of the unified model, of all pairs and of all specialists, at every seed.
    """
    rows = [ranks.row() for ranks in answers]
    models = TaskModels(rows)
    grouping, values = models.groupings(), _average_seeds(answers)
    comparisons = [
        {"task": task, **_compare(values[task, UNIFIED], values[task, SPECIALIST])}
        for task in models.tasks
    ]
    return {
        "rows": rows,
        "models": {
            task: {
                model: {MAIN: asdict(estimate(values[task, model][:, _COLUMN]))}
                for model in (UNIFIED, SPECIALIST)
            }
            for task in models.tasks
        },
        "comparisons": comparisons,
        "transfer": models.transfer(),
        "grouping": grouping,
        "recommendation": recommendation(grouping, comparisons),
    }


def recommendation(
    grouping: Mapping[str, Mapping[str, Any]], comparisons: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Recommend ``groups`` for ``[unified]``, with the reasons in ``sentences``."""
    count = next(
        count
        for count in sorted(grouping)
        if min(grouping[count]["valid_relative"].values()) >= -HARM
    )
    best, specialists = grouping[count], grouping[max(grouping)]
    sentences = [_describe_comparison(comparison) for comparison in comparisons]
    cost = best["cpu_s"] / specialists["cpu_s"] if specialists["cpu_s"] else 1.0
    if count == "1":
        sentences.append(
            f"One model for all tasks is enough: no task loses more than {percent(HARM)} on "
            f"validation, at {percent(cost)} of the training time of a model for each."
        )
    else:
        names = " and ".join("+".join(group) for group in best["groups"])
        sentences.append(
            f"{count} models are advised, {names}: with fewer a task loses more than "
            f"{percent(HARM)} on validation. They take {percent(cost)} of the training time of "
            f"a model for each task ({seconds(best['cpu_s'])})."
        )
    return {"groups": best["groups"], "sentences": sentences}


def _describe_comparison(comparison: Mapping[str, Any]) -> str:
    low, high = (percent(comparison[f"relative_{end}"]) for end in ("low", "high"))
    return (
        f"{comparison['task']}: the unified model's nDCG@10 differs from its specialist's by "
        f"{percent(comparison['relative_difference'])} ({low} to {high}), {comparison['verdict']}."
    )


def _average_seeds(answers: Sequence[TaskRanks]) -> dict[tuple[str, str], Values]:
    """(task, model) -> test metrics (U, 3) per user, averaged over seeds; pairs are left out."""
    values: dict[tuple[str, str], list[Values]] = {}
    for ranks in answers:
        if ranks.model != PAIR:
            values.setdefault((ranks.task, ranks.model), []).append(ranks.per_user(test=True))
    return {key: np.mean(of_seeds, axis=0) for key, of_seeds in values.items()}


def _compare(system: Values, baseline: Values) -> dict[str, Any]:
    """Paired difference over users, and relative to the baseline's mean, as JSON values."""
    names = (UNIFIED, SPECIALIST, MAIN)
    found = asdict(compare_values(names, system[:, _COLUMN], baseline[:, _COLUMN]))
    mean = float(baseline[:, _COLUMN].mean()) if len(baseline) else 0.0
    relative = {
        f"relative_{name}": found[name] / mean if mean and found[name] is not None else None
        for name in ("difference", "low", "high")
    }
    return {**found, **relative}
