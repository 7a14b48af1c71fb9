"""Task transfer in multi-task training: what tasks do to one another, and how many models to have.

Models were trained on every set of tasks, with the same budget. The transfer of a task is the
relative change of another task's nDCG@10 when both are learned. For each number of models the best
split of the tasks is the one with the highest mean relative gain over the specialists, the models
of one task, on validation; the recommendation is the smallest number with which no task loses more
than ``HARM`` there. What is told of quality is measured on the test set.

Shapes: T requests, U users.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimate, per_user
from serendip.evaluate.metrics import NDCG
from serendip.evaluate.number_format import percent, seconds
from serendip.evaluate.runs import Values

Group = tuple[str, ...]

MAIN = "N@10"
UNIFIED, SPECIALIST = "unified", "specialist"
HARM = 0.01
"""Largest relative loss of a task on validation that the recommendation accepts."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskRanks:
    """Ranks of a model for the requests of one task.

    Args:
        group: tasks that the model was trained on, in order.
        ranks: (T,) ranks of the targets.
        users: (T,) ids.
        is_test: (T,) bool; False = validation.
    """

    task: str
    group: Group
    seed: int
    ranks: Values
    users: NDArray[np.str_]
    is_test: BoolArray
    cpu_s: float
    params: int

    def gains(self, test: bool) -> Values:
        """(U,) nDCG@10: the mean over the requests of each user."""
        rows = self.is_test == test  # (T,)
        return per_user(NDCG(10).of_ranks(self.ranks[rows])[:, None], self.users[rows])[:, 0]


class _Models:
    """The models of all groups; means over seeds."""

    def __init__(self, answers: Sequence[TaskRanks]) -> None:
        self._cells = defaultdict[tuple[Group, str], list[TaskRanks]](list)
        for ranks in answers:
            self._cells[ranks.group, ranks.task].append(ranks)
        self.groups = sorted({group for group, _ in self._cells})
        self.tasks = tuple(sorted({task for _, task in self._cells}))

    def gains(self, group: Group, task: str, test: bool = True) -> Values:
        """(U,) nDCG@10 of a task by the model of a group."""
        return np.asarray(np.mean([one.gains(test) for one in self._cells[group, task]], axis=0))

    def relative(self, group: Group, task: str, test: bool = True) -> float:
        """Relative gain over the specialist; 0 if that has 0."""
        specialist = self.gains((task,), task, test).mean()
        gain = self.gains(group, task, test).mean()
        return float(gain / specialist - 1.0) if specialist else 0.0

    def describe(self, split: Sequence[Group]) -> dict[str, Any]:
        """A model for each group of a split: gains over the specialists, and costs."""
        members = [(group, task) for group in split for task in group]
        on_validation = {task: self.relative(group, task, False) for group, task in members}
        models = [self._cells[group, group[0]] for group in split]
        return {
            "groups": [list(group) for group in split],
            "valid_gain": float(np.mean(list(on_validation.values()))),
            "valid_relative": on_validation,
            "relative": {task: self.relative(group, task) for group, task in members},
            "cpu_s": sum(float(np.mean([one.cpu_s for one in model])) for model in models),
            "params": sum(float(np.mean([one.params for one in model])) for model in models),
            "models": len(split),
        }

    def best_splits(self) -> dict[str, dict[str, Any]]:
        """Number of models -> the best split of the tasks."""
        sizes = range(1, len(self.tasks) + 1)
        splits = chain.from_iterable(combinations(self.groups, size) for size in sizes)
        best = dict[str, dict[str, Any]]()
        for split in splits:
            if tuple(sorted(chain(*split))) == self.tasks:
                found, count = self.describe(split), str(len(split))
                if count not in best or found["valid_gain"] > best[count]["valid_gain"]:
                    best[count] = found
        return best


def alignment_figures(answers: Sequence[TaskRanks]) -> dict[str, Any]:
    """``models``, ``comparisons``, ``transfer``, ``grouping`` and ``recommendation``.

    Answers are those of the unified model, of all pairs and of all specialists, at every seed.
    """
    models, transfer = _Models(answers), defaultdict[str, dict[str, float]](dict)
    for task, other in permutations(models.tasks, 2):
        pair = (*sorted((task, other)),)
        if pair in models.groups:
            transfer[task][other] = models.relative(pair, task)
    figures, comparisons = dict[str, Any](), []
    for task in models.tasks:
        gains = {UNIFIED: models.gains(models.tasks, task), SPECIALIST: models.gains((task,), task)}
        figures[task] = {name: {MAIN: asdict(estimate(part))} for name, part in gains.items()}
        found = compare_values((UNIFIED, SPECIALIST, MAIN), gains[UNIFIED], gains[SPECIALIST])
        mean, ends = float(gains[SPECIALIST].mean()), ("difference", "low", "high")
        values = {f"relative_{end}": getattr(found, end) for end in ends}
        relative = {
            name: None if value is None or not mean else value / mean
            for name, value in values.items()
        }
        comparisons.append({"task": task, **asdict(found), **relative})
    grouping = models.best_splits()
    return {
        "models": figures,
        "comparisons": comparisons,
        "transfer": transfer,
        "grouping": grouping,
        "recommendation": _recommend(grouping, comparisons),
    }


def _recommend(
    grouping: Mapping[str, Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """``groups`` for ``[unified]``, with the reasons in ``sentences``."""
    count, best = next(
        (count, split)
        for count, split in sorted(grouping.items())
        if min(split["valid_relative"].values()) >= -HARM
    )
    sentences = [
        f"{row['task']}: the unified model's nDCG@10 differs from its specialist's by "
        f"{percent(row['relative_difference'])} ({percent(row['relative_low'])} to "
        f"{percent(row['relative_high'])}), {row['verdict']}."
        for row in comparisons
    ]
    of_specialists = grouping[max(grouping)]["cpu_s"]
    cost = percent(best["cpu_s"] / of_specialists if of_specialists else 1.0)
    if count == "1":
        sentences.append(
            f"One model for all tasks is enough: no task loses more than {percent(HARM)} on "
            f"validation, at {cost} of the training time of a model for each."
        )
    else:
        names = " and ".join("+".join(group) for group in best["groups"])
        sentences.append(
            f"{count} models are advised, {names}: with fewer a task loses more than "
            f"{percent(HARM)} on validation. They take {cost} of the training time of a model for "
            f"each task ({seconds(best['cpu_s'])})."
        )
    return {"groups": best["groups"], "sentences": sentences}
