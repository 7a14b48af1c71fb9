"""``serendip bench sequential``, ``cold`` and ``unified``: models on one set of data.

A process trains and tests each model; a run that ended early goes on. Rows are then summarised:
means over seeds, intervals over units, and differences to one model, paired by unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Groups, Values
from serendip.runtime.atomic_files import write_json
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip_bench.ranking.models import BenchModel
from serendip_bench.ranking.requests import LABELS
from serendip_bench.ranking.rows import (
    VERSION,
    BenchData,
    Kind,
    ModelTask,
    Row,
    compute_rows,
    load_rows,
)
from serendip_bench.results import find_cache, open_work_folder, require_seeds

SUBJECTS: Mapping[Kind, str] = {
    "sequential": "retriever",
    "cold": "content+codes+id",
    "unified": "unified",
}
"""The model that all others are compared with."""

_COMPARED = ("R@10", "N@10")


@dataclass(frozen=True, slots=True)
class RankingBench:
    """Settings of a run.

    Args:
        data: folder of sequences, films or products.
        file: the results; rows are kept in ``<file>.work``.
        cache: folder of text vectors; None = in ``<file>.work``.
    """

    kind: Kind
    data: Path
    file: Path
    models: Mapping[str, BenchModel]
    seeds: int = 3
    cache: Path | None = None
    encoder: str = "minilm"


def run_bench(
    bench: RankingBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Compute the rows that are not there yet, summarise all, and write the results.

    Args:
        bench: settings.
        options: progress; the seed is ignored.
        on_row: called with each row that was computed.
        executor: of the models; two local processes of one thread by default.

    Raises:
        ConfigError: seeds < 1, or the results cannot be written.
        DataError: the data is missing or invalid.
        StorageError: another process uses the same results file.
    """
    require_seeds(bench.seeds)
    data = BenchData(bench.kind, bench.data, bench.encoder, find_cache(bench.file, bench.cache))
    dataset = data.read()
    with open_work_folder(bench.file) as work:
        tasks = [
            ModelTask(name, line, seed, data, work, data.digest())
            for seed in range(bench.seeds)  # every model has a first row early
            for name, line in bench.models.items()
            if line.is_random or seed == 0
        ]
        missing = [task for task in tasks if not task.file.exists()]
        if any(task.line.reads != "events" for task in missing):
            with options.progress.step("Encoding texts"):
                data.open(0)  # so that no two processes encode the same texts
        finished = (executor or LocalExecutor(2)).map(compute_rows, missing)
        for task in options.progress.track(finished, "models", len(missing)) if missing else ():
            for row in load_rows(task):
                on_row(row.fields)
        rows = [row for task in tasks for row in load_rows(task)]
        document = {
            "name": bench.kind,
            "version": VERSION,
            "protocol": "docs/concepts/benchmark-protocol.md",
            "dataset": bench.data.resolve().name,
            "data": data.digest(),
            "encoder": bench.encoder,
            "users": dataset.num_users,
            "items": dataset.num_items,
            "events": len(dataset.events),
            "models": {name: asdict(line) for name, line in bench.models.items()},
            "rows": [dict(row.fields) for row in rows],
            "summary": summarise(rows, SUBJECTS[bench.kind]),
        }
        write_json(bench.file, document)
    return document


def summarise(rows: Sequence[Row], subject: str) -> dict[str, Any]:
    """Means over seeds, intervals over units, and differences of one model to all others.

    ``comparisons`` also have the relative difference of the means, with its interval.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if "reason" not in row.fields:
            groups.setdefault((row.fields["set"], row.fields["model"]), []).append(row)
    pooled = {key: _pool(group) for key, group in groups.items()}
    models = [
        {
            "set": name,
            "model": model,
            "seeds": [row.fields["seed"] for row in groups[name, model]],
            **_mean_fields([row.fields for row in groups[name, model]]),
            "ci95": {
                label: [estimate.low, estimate.high]
                for label, estimate in zip(LABELS, estimates(values), strict=True)
            },
        }
        for (name, model), (_, values) in pooled.items()
    ]
    comparisons = [
        {"set": name, **_compare((subject, model, label), pooled[name, subject], other)}
        for (name, model), other in pooled.items()
        for label in _COMPARED
        if model != subject and (name, subject) in pooled
    ]
    return {"models": models, "comparisons": comparisons}


def _pool(rows: Sequence[Row]) -> tuple[Groups, Values]:
    """Units (U,) and their means (U, 5) over the seeds, in which not all need be."""
    units, groups = np.unique(np.concatenate([row.units for row in rows]), return_inverse=True)
    return units, per_user(np.concatenate([row.values for row in rows]), groups)


def _mean_fields(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of every field that is a number in all rows."""
    names = [name for name in rows[0] if all(isinstance(row[name], float) for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _compare(
    names: tuple[str, str, str], system: tuple[Groups, Values], baseline: tuple[Groups, Values]
) -> dict[str, Any]:
    column = LABELS.index(names[2])
    _, rows, others = np.intersect1d(system[0], baseline[0], return_indices=True)
    pair = system[1][rows, column], baseline[1][others, column]
    comparison, mean = asdict(compare_values(names, *pair)), float(pair[1].mean())
    ends = {name: comparison[name] for name in ("difference", "low", "high")}
    relative = {f"relative_{name}": end / mean if mean else None for name, end in ends.items()}
    return {**comparison, **relative}
