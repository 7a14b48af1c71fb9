"""From rows to one line per model, and to paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from serendip.evaluate.comparison import compare_values
from serendip.evaluate.full_ranking import LABELS, values_of_ranks
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Values
from serendip.workflow.bench.rows import COLD_FILE, RANKS_FILE, row_folder

SUBJECT, COLD_BASELINE = "blend", "content-knn"
_COMPARED = ("R@10", "N@10")

Row: TypeAlias = Mapping[str, Any]


def summarise_sequential(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds; intervals over users of each user's mean over seeds.

    ``comparisons`` are of ``blend`` with every other model, empty while it has no row; they tell
    the seeds of both, which may differ while rows are missing.
    """
    models, values = {}, {}
    for name, own in _grouped(rows, "model").items():
        ranks = [_load(work, name, row, RANKS_FILE) for row in own]
        values[name] = np.mean([values_of_ranks(one) for one in ranks], axis=0)
        models[name] = {**_means(own), "ci95": _intervals(values[name])}
    subject = values.pop(SUBJECT, None)
    comparisons = []
    for other, baseline in values.items() if subject is not None else ():
        seeds = {"seeds": models[SUBJECT]["seeds"], "baseline_seeds": models[other]["seeds"]}
        found = _compared((SUBJECT, other), subject, baseline)
        comparisons += [{**one, **seeds} for one in found]
    return {"models": models, "comparisons": comparisons}


def summarise_cold(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds; intervals over users, who may be cold at one seed and warm at another.

    ``comparisons`` are of every mode with ``content-knn`` of the same seeds, over the cold users
    and over the warm ones.
    """
    models: dict[str, Any] = {}
    values: dict[str, dict[str, Values]] = {}
    for mode, own in _grouped(rows, "mode").items():
        values[mode] = {
            "cold_": _pooled(own, mode, work, cold=True),
            "warm_": _pooled(own, mode, work, cold=False),
        }
        ci95: dict[str, list[float | None]] = {}
        for prefix, pooled in values[mode].items():
            ci95 |= _intervals(pooled, prefix)
        models[mode] = {**_means(own), "ci95": ci95}
    comparisons = []
    for mode, parts in values.items():
        is_paired = mode != COLD_BASELINE and COLD_BASELINE in models
        if is_paired and models[mode]["seeds"] == models[COLD_BASELINE]["seeds"]:
            for prefix, pooled in parts.items():
                names, baseline = (mode, COLD_BASELINE), values[COLD_BASELINE][prefix]
                comparisons += _compared(names, pooled, baseline, prefix)
    return {"models": models, "comparisons": comparisons}


def _pooled(rows: Sequence[Row], mode: str, work: Path, cold: bool) -> Values:
    """(U, 4) values of the users who are cold (or warm) at any seed, means over those seeds."""
    users, values = [], []
    for row in rows:
        chosen = np.flatnonzero(_load(work, mode, row, COLD_FILE) == cold)
        users.append(chosen)
        values.append(values_of_ranks(_load(work, mode, row, RANKS_FILE)[chosen]))
    groups = np.unique(np.concatenate(users), return_inverse=True)[1]
    return per_user(np.concatenate(values), groups) if len(groups) else np.empty((0, len(LABELS)))


def _grouped(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    """Rows by model or mode, each in the order of seeds."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        groups.setdefault(str(row[name]), []).append(row)
    return groups


def _means(rows: Sequence[Row]) -> dict[str, Any]:
    """The seeds, and the mean of whatever all rows have as a number that is no count."""
    means = {
        name: float(np.mean([row[name] for row in rows]))
        for name in rows[0]
        if all(isinstance(row.get(name), float) for row in rows)
    }
    return {"seeds": [row["seed"] for row in rows], **means}


def _intervals(values: Values, prefix: str = "") -> dict[str, list[float | None]]:
    found = zip(LABELS, estimates(values), strict=True)
    return {f"{prefix}{label}": [one.low, one.high] for label, one in found}


def _compared(
    names: tuple[str, str], system: Values, baseline: Values, prefix: str = ""
) -> list[dict[str, Any]]:
    found = []
    for label in _COMPARED:
        column = LABELS.index(label)
        pair = system[:, column], baseline[:, column]
        found.append(compare_values((*names, f"{prefix}{label}"), *pair).as_dict())
    return found


def _load(work: Path, name: str, row: Row, file: str) -> Any:
    return np.load(row_folder(work, name, int(row["seed"])) / file, allow_pickle=False)
