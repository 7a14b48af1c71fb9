"""Task transfer in multi-task training: pairwise transfer, the best task grouping, and advice.

``TaskModels`` computes the transfer between tasks and, for each number of models, the best grouping
of the tasks: the one with the highest mean relative gain over the specialists (single-task models
with the same budget) on validation. It is reported on the test set.

The recommendation is the smallest number of models with which no task loses more than ``HARM`` of
its validation nDCG@10 against its specialist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.metrics.recall import Recall
from serendip.evaluate.number_format import percent, seconds
from serendip.evaluate.runs import Groups, Values

Row = Mapping[str, Any]
Group = tuple[str, ...]


class TaskModels:
    """Models by the set of tasks that they learned; figures are means over seeds.

    Args:
        rows: of models that answer all the tasks they learned, and only these.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        learned: dict[str, set[str]] = {}
        for row in rows:
            learned.setdefault(str(row["line"]), set()).add(str(row["task"]))
        groups = {line: tuple(sorted(tasks)) for line, tasks in learned.items()}
        self._rows: dict[Group, list[Row]] = {}
        for row in rows:
            self._rows.setdefault(groups[str(row["line"])], []).append(row)
        self.tasks: Group = tuple(sorted({task for tasks in learned.values() for task in tasks}))

    def transfer(self) -> dict[str, dict[str, float]]:
        """Task -> other task -> relative change of its N@10 when the other is learned as well."""
        return {
            task: {
                other: self._relative((*sorted((task, other)),), task, "N@10")
                for other in self.tasks
                if other != task and (*sorted((task, other)),) in self._rows
            }
            for task in self.tasks
        }

    def groupings(self) -> dict[str, dict[str, Any]]:
        """Number of models -> the best split into so many: its quality and what it costs."""
        found: dict[str, dict[str, Any]] = {}
        for split in _splits(self.tasks):
            if not all(group in self._rows for group in split):
                continue
            one = self._described(split)
            best = found.get(str(len(split)))
            if best is None or one["valid_gain"] > best["valid_gain"]:
                found[str(len(split))] = one
        return found

    def _described(self, split: Sequence[Group]) -> dict[str, Any]:
        gains = {
            task: self._relative(group, task, "valid_N@10") for group in split for task in group
        }
        return {
            "groups": [list(group) for group in split],
            "valid_gain": float(np.mean(list(gains.values()))),
            "valid_relative": gains,
            "N@10": {
                task: _mean(self._of(group, task), "N@10") for group in split for task in group
            },
            "relative": {
                task: self._relative(group, task, "N@10") for group in split for task in group
            },
            "seeds": {
                task: [row["seed"] for row in self._of(group, task)]
                for group in split
                for task in group
            },
            "cpu_s": sum(_mean(self._rows[group], "cpu_s") for group in split),
            "params": sum(_mean(self._rows[group], "params") for group in split),
            "models": len(split),
        }

    def _relative(self, group: Group, task: str, label: str) -> float:
        """Relative to the specialist's same seeds; 0 where neither finds anything."""
        own, others = of_shared_seeds(self._of(group, task), self._of((task,), task))
        alone = _mean(others, label)
        return _mean(own, label) / alone - 1.0 if alone else 0.0

    def _of(self, group: Group, task: str) -> list[Row]:
        return [row for row in self._rows[group] if row["task"] == task]


def of_shared_seeds(rows: Sequence[Row], others: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of two models that are of seeds which both have."""
    shared = {row["seed"] for row in rows} & {row["seed"] for row in others}
    own, those = ([row for row in one if row["seed"] in shared] for one in (rows, others))
    return own, those


def _mean(rows: Sequence[Row], label: str) -> float:
    return float(np.mean([row[label] for row in rows])) if rows else 0.0


def _splits(tasks: Group) -> Iterator[list[Group]]:
    """All ways to put tasks into groups."""
    if not tasks:
        yield []
        return
    first, rest = tasks[0], tasks[1:]
    for split in _splits(rest):
        yield [(first,), *split]
        for place, group in enumerate(split):
            yield [*split[:place], (first, *group), *split[place + 1 :]]


LABELS = ("R@10", "N@10", "R@100")
MAIN = "N@10"
UNIFIED, SPECIALIST, PAIR = "unified", "specialist", "pair"
HARM = 0.01
_METRICS = (Recall(10), NDCG(10), Recall(100))


@dataclass(frozen=True, slots=True, eq=False)
class TaskRanks:
    """What one model answered to the requests of one task.

    Args:
        task: name of it.
        group: tasks that the model learned.
        seed: of its training.
        ranks: (T,) of what came next.
        users: (T,) dense numbers of who asked.
        is_test: (T,) bool; the others are for validation.
        cpu_s: CPU-seconds of the training.
        params: learned numbers of the model.
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
        """(U, 3) means of the figures over the requests of each user."""
        chosen = self.is_test == test
        values = np.stack([metric.of_ranks(self.ranks[chosen]) for metric in _METRICS], axis=1)
        users = np.unique(self.users[chosen], return_inverse=True)[1].reshape(-1)
        return per_user(values, users) if len(values) else values

    def row(self) -> dict[str, Any]:
        """The figures as a row of results."""
        test, valid = (self.per_user(test).mean(0) for test in (True, False))
        return {
            "task": self.task,
            "model": self.model,
            "line": "+".join(self.group),
            "seed": self.seed,
            **dict(zip(LABELS, test.tolist(), strict=True)),
            "valid_N@10": float(valid[LABELS.index(MAIN)]),
            "cpu_s": self.cpu_s,
            "params": self.params,
        }


def alignment_figures(answers: Sequence[TaskRanks]) -> dict[str, Any]:
    """``rows``, ``models``, ``comparisons``, ``transfer``, ``grouping`` and ``recommendation``.

    Args:
        answers: of the unified model, of all pairs and of all specialists, at every seed.
    """
    rows = [one.row() for one in answers]
    models = TaskModels(rows)
    grouping = models.groupings()
    values = _values(answers)
    comparisons = [
        {"task": task, **_compared(values[task, UNIFIED], values[task, SPECIALIST])}
        for task in models.tasks
    ]
    return {
        "rows": rows,
        "models": [_line(key, values[key]) for key in sorted(values)],
        "comparisons": comparisons,
        "transfer": models.transfer(),
        "grouping": grouping,
        "recommendation": recommendation(grouping, comparisons),
    }


def recommendation(
    grouping: Mapping[str, Mapping[str, Any]], comparisons: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """``groups`` to be set in ``[unified]``, and why, in ``sentences``."""
    count = next(
        count
        for count in sorted(grouping)
        if min(grouping[count]["valid_relative"].values()) >= -HARM
    )
    chosen, alone = grouping[count], grouping[max(grouping)]
    told = [_told(one) for one in comparisons]
    cost = chosen["cpu_s"] / alone["cpu_s"] if alone["cpu_s"] else 1.0
    if count == "1":
        told.append(
            f"One model for all tasks is enough: no task loses more than {percent(HARM)} on "
            f"validation, at {percent(cost)} of the training time of a model for each."
        )
    else:
        names = " and ".join("+".join(group) for group in chosen["groups"])
        told.append(
            f"{count} models are advised, {names}: with fewer a task loses more than "
            f"{percent(HARM)} on validation. They take {percent(cost)} of the training time of "
            f"a model for each task ({seconds(chosen['cpu_s'])})."
        )
    return {"groups": chosen["groups"], "sentences": told}


def _told(one: Mapping[str, Any]) -> str:
    low, high = (percent(one[f"relative_{end}"]) for end in ("low", "high"))
    return (
        f"{one['task']}: the unified model's nDCG@10 differs from its specialist's by "
        f"{percent(one['relative_difference'])} ({low} to {high}), {one['verdict']}."
    )


def _values(answers: Sequence[TaskRanks]) -> dict[tuple[str, str], Values]:
    """(task, model) -> (U, 3) test figures per user, means over seeds; pairs are left out."""
    found: dict[tuple[str, str], list[Values]] = {}
    for one in answers:
        if one.model != PAIR:
            found.setdefault((one.task, one.model), []).append(one.per_user(test=True))
    return {key: np.mean(own, axis=0) for key, own in found.items()}


def _line(key: tuple[str, str], values: Values) -> dict[str, Any]:
    found = zip(LABELS, estimates(values), strict=True)
    return {"task": key[0], "model": key[1], **{label: one.as_dict() for label, one in found}}


def _compared(system: Values, baseline: Values) -> dict[str, Any]:
    """A paired difference by user, also relative to the baseline's mean."""
    column = LABELS.index(MAIN)
    names = (UNIFIED, SPECIALIST, MAIN)
    found = compare_values(names, system[:, column], baseline[:, column]).as_dict()
    mean = float(baseline[:, column].mean()) if len(baseline) else 0.0
    relative = {
        f"relative_{name}": found[name] / mean if mean and found[name] is not None else None
        for name in ("difference", "low", "high")
    }
    return {**found, **relative}
