"""What tasks do to one another, and the best split of all tasks into one, two or three models.

Chosen on validation: of all splits into as many groups the one with the best mean over tasks of the
relative gain over the specialists. Judged on test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

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
