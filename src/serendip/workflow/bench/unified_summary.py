"""From rows to one line per task and model, and to what is paired by user.

``unified`` is compared with each of the others, ``engine`` with the baselines of what is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates
from serendip.evaluate.runs import Values
from serendip.evaluate.task_transfer import TaskModels, of_shared_seeds
from serendip.workflow.bench.unified_rows import UNIFIED_LABELS, left_values, question
from serendip.workflow.bench.word_scores import WordScorer
from serendip_bench.sequential.rows import row_folder

SUBJECT, SERVED = "unified", "engine"
_BASELINES = ("bm25", "vectors", "rrf", "lightgbm")
TWO_MODELS = "two-models"
_LEARNED = {"unified", "pair", "specialist"}
_MEANS = ("R@10", "N@10", "R@100", "judged@10", "cpu_s", "params", "score_cpu_s")

Row = Mapping[str, Any]
Key = tuple[str, str, str]
"""Task, set (empty where the task has none), model."""


def summarise_unified(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds, intervals over users, and differences paired by user.

    ``comparisons`` carry the relative difference of the means, too, with the ends of the interval
    of the difference divided by the mean of the other model. A model with fewer seeds is compared
    with the same seeds of the other one; what leaves nothing to chance, with all of them.
    """
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        key = str(row["task"]), str(row.get("set", "")), str(row["model"])
        groups.setdefault(key, []).append(row)
    models = [_line(key, groups[key], _values(groups[key], work)) for key in sorted(groups)]
    pairs = [
        (key, system, _paired(groups[*key[:2], system], own))
        for system in (SUBJECT, SERVED)
        for key, own in sorted(groups.items())
        if (*key[:2], system) in groups and _is_baseline(key[2], system)
    ]
    comparisons = [
        _compared(key, system, *paired, work) for key, system, paired in pairs if all(paired)
    ]
    return {"models": models, "comparisons": comparisons}


def _paired(rows: Sequence[Row], others: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Rows of two models that are to be compared: of the seeds that both have."""
    if others[0]["model"] in get_args(WordScorer):
        return rows, others
    return of_shared_seeds(rows, others)


def _is_baseline(model: str, system: str) -> bool:
    return model != SUBJECT if system == SUBJECT else model in _BASELINES


def alignment_of(rows: Sequence[Row]) -> dict[str, Any]:
    """``transfer`` and ``grouping``; empty while a specialist has no rows.

    Of a task with rows of all its requests and of parts of them, the former count; of a task with
    sets only, their mean.
    """
    whole = {row["task"] for row in rows if "set" not in row}
    learned = [
        row
        for row in rows
        if row["model"] in _LEARNED and not ("set" in row and row["task"] in whole)
    ]
    models = TaskModels(learned)
    alone = {str(row["task"]) for row in learned if row["model"] == "specialist"}
    if not learned or alone != set(models.tasks):
        return {"transfer": {}, "grouping": {}}
    return {"transfer": models.transfer(), "grouping": models.groupings()}


def two_models(rows: Sequence[Row], grouping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the best two models, as those of ``two-models``; none while it is not known."""
    groups = grouping.get("2", {}).get("groups", [])
    chosen = {task: set(group) for group in groups for task in group}
    learned: dict[str, set[str]] = {}
    for row in rows:
        learned.setdefault(str(row["line"]), set()).add(str(row["task"]))
    return [
        {**row, "model": TWO_MODELS}
        for row in rows
        if row["model"] in _LEARNED and learned[str(row["line"])] == chosen.get(str(row["task"]))
    ]


def _values(rows: Sequence[Row], work: Path) -> Values:
    """(U, 3) means over the seeds."""
    found = [
        left_values(row_folder(work, str(row["line"]), int(row["seed"])), question(row))
        for row in rows
    ]
    values: Values = np.mean(found, axis=0)
    return values


def _named(key: Key) -> dict[str, str]:
    """Task, and set where there is one."""
    return {"task": key[0], **({"set": key[1]} if key[1] else {})}


def _line(key: Key, rows: Sequence[Row], values: Values) -> dict[str, Any]:
    intervals = zip(UNIFIED_LABELS, estimates(values), strict=True)
    return {
        **_named(key),
        "model": key[2],
        "seeds": [row["seed"] for row in rows],
        **{
            name: float(np.mean([row[name] for row in rows]))
            for name in _MEANS
            if all(name in row for row in rows)
        },
        "ci95": {label: [one.low, one.high] for label, one in intervals},
    }


def _compared(
    key: Key, system: str, rows: Sequence[Row], others: Sequence[Row], work: Path
) -> dict[str, Any]:
    column = UNIFIED_LABELS.index("N@10")
    pair = _values(rows, work)[:, column], _values(others, work)[:, column]
    found = compare_values((system, key[2], "N@10"), *pair).as_dict()
    mean = float(pair[1].mean())
    relative = {
        f"relative_{name}": found[name] / mean if mean else None
        for name in ("difference", "low", "high")
    }
    seeds = {
        "seeds": [row["seed"] for row in rows],
        "baseline_seeds": [row["seed"] for row in others],
    }
    return {**_named(key), **found, **relative, **seeds}
