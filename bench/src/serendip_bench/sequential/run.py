"""``serendip bench sequential`` and ``cold``: resumable runs, one process per row.

Rows are summarised to one line per model, with paired differences.

Shapes: U users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from serendip.content.behaviour_alignment import RANK
from serendip.content.encoders.text import TextEncoderConfig
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Values
from serendip.runtime.progress import TrainOptions
from serendip_bench.bench_executor import BenchExecutor
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.ranking_values import LABELS, values_of_ranks
from serendip_bench.results import Results
from serendip_bench.sequential.models import ENCODER, SEMANTIC_IDS, BenchModel, expand_config
from serendip_bench.sequential.rows import (
    COLD_FILE,
    RANKS_FILE,
    ExperimentTask,
    Kind,
    compute_row,
    get_row_folder,
    is_finished,
)
from serendip_bench.vectors import VectorTask, describe_encoder, encode_items
from serendip_bench.work_folder import get_work_folder, open_results

SUBJECT, COLD_BASELINE = "retriever", "content-knn"
_COMPARED = ("R@10", "N@10")

Row: TypeAlias = Mapping[str, Any]


def summarise_sequential(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds; intervals over users of each user's mean over seeds.

    ``comparisons`` are of ``retriever`` with every other model, if it has a row. They list
    the seeds of both, which may differ while rows are missing.
    """
    models, values = {}, {}
    for name, group in _group_rows(rows, "model").items():
        ranks = [_load_array(work, name, row, RANKS_FILE) for row in group]
        values[name] = np.mean([values_of_ranks(seed_ranks) for seed_ranks in ranks], axis=0)
        models[name] = {**_mean_fields(group), "ci95": _compute_intervals(values[name])}
    subject = values.pop(SUBJECT, None)
    comparisons = []
    for other, baseline in values.items() if subject is not None else ():
        seeds = {"seeds": models[SUBJECT]["seeds"], "baseline_seeds": models[other]["seeds"]}
        comparison_rows = _compare((SUBJECT, other), subject, baseline)
        comparisons += [{**row, **seeds} for row in comparison_rows]
    return {"models": models, "comparisons": comparisons}


def summarise_cold(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds; intervals over users, who may be cold in one seed and warm in another.

    ``comparisons`` are of every mode with ``content-knn`` at the same seeds, separately over cold
    and warm users.
    """
    models: dict[str, Any] = {}
    values: dict[str, dict[str, Values]] = {}
    for mode, group in _group_rows(rows, "mode").items():
        values[mode] = {
            "cold_": _pool_users(group, mode, work, cold=True),
            "warm_": _pool_users(group, mode, work, cold=False),
        }
        ci95: dict[str, list[float | None]] = {}
        for prefix, pooled in values[mode].items():
            ci95 |= _compute_intervals(pooled, prefix)
        models[mode] = {**_mean_fields(group), "ci95": ci95}
    comparisons = []
    for mode, parts in values.items():
        is_paired = mode != COLD_BASELINE and COLD_BASELINE in models
        if is_paired and models[mode]["seeds"] == models[COLD_BASELINE]["seeds"]:
            for prefix, pooled in parts.items():
                names, baseline = (mode, COLD_BASELINE), values[COLD_BASELINE][prefix]
                comparisons += _compare(names, pooled, baseline, prefix)
    return {"models": models, "comparisons": comparisons}


def _pool_users(rows: Sequence[Row], mode: str, work: Path, cold: bool) -> Values:
    """(U, 4) values of the users who are cold (or warm) in any seed, means over those seeds."""
    users, values = [], []
    for row in rows:
        selected = np.flatnonzero(_load_array(work, mode, row, COLD_FILE) == cold)
        users.append(selected)
        values.append(values_of_ranks(_load_array(work, mode, row, RANKS_FILE)[selected]))
    groups = np.unique(np.concatenate(users), return_inverse=True)[1]
    return per_user(np.concatenate(values), groups) if len(groups) else np.empty((0, len(LABELS)))


def _group_rows(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    """Rows by model or mode, ordered by seed."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        groups.setdefault(str(row[name]), []).append(row)
    return groups


def _mean_fields(rows: Sequence[Row]) -> dict[str, Any]:
    """Seeds, and the mean over rows of every numeric non-count field."""
    means = {
        name: float(np.mean([row[name] for row in rows]))
        for name in rows[0]
        if all(isinstance(row.get(name), float) for row in rows)
    }
    return {"seeds": [row["seed"] for row in rows], **means}


def _compute_intervals(values: Values, prefix: str = "") -> dict[str, list[float | None]]:
    labelled_estimates = zip(LABELS, estimates(values), strict=True)
    return {
        f"{prefix}{label}": [estimate.low, estimate.high] for label, estimate in labelled_estimates
    }


def _compare(
    names: tuple[str, str], system: Values, baseline: Values, prefix: str = ""
) -> list[dict[str, Any]]:
    comparisons = []
    for label in _COMPARED:
        column = LABELS.index(label)
        pair = system[:, column], baseline[:, column]
        comparisons.append(asdict(compare_values((*names, f"{prefix}{label}"), *pair)))
    return comparisons


def _load_array(work: Path, name: str, row: Row, file: str) -> Any:
    return np.load(get_row_folder(work, name, int(row["seed"])) / file, allow_pickle=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """Settings of a run.

    Args:
        kind: of benchmark.
        data: folder with ``sequences.txt`` and ``items.jsonl``.
        file: the results; models, ranks and vectors are stored in ``<file>.work``.
        models: lines of the table.
        seeds: number of seeds of random models.
        cache: folder of the vector cache; None = in ``<file>.work``.
        encoder: of the items' texts.
    """

    kind: Kind
    data: Path
    file: Path
    models: Mapping[str, BenchModel]
    seeds: int = 3
    cache: Path | None = None
    encoder: TextEncoderConfig = ENCODER

    @property
    def work(self) -> Path:
        """Folder of files for resumed runs."""
        return get_work_folder(self.file)

    @property
    def content(self) -> Path:
        """File of the vectors of all items."""
        return self.work / "content.npy"


def run_bench(
    bench: Bench,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    executor: BenchExecutor | None = None,
) -> dict[str, Any]:
    """Compute the rows that the results file lacks, then summarise.

    Args:
        bench: settings.
        options: progress; the seed is ignored.
        on_row: called with each finished row, or with the key of a model that cannot use the data
            and the ``reason``.
        executor: of the rows; two local processes of one thread by default.

    Returns:
        the document of the results file.

    Raises:
        ConfigError: seeds < 1, or the results file cannot be written or is not a results file.
        DataError: the data is missing or invalid.
        StorageError: another process uses the same results file.
    """
    with open_results(bench.kind, bench.data, bench.file, bench.seeds) as results:
        data = results.document["protocol"]["data"]
        _compute_rows(bench, data, results, options, on_row, executor or BenchExecutor())
        finished = [row for row in results.rows if _is_finished(bench, row)]
        summarise = summarise_cold if bench.kind == "cold" else summarise_sequential
        results.document["summary"] = summarise(finished, bench.work)
        results.write()
    return results.document


def _compute_rows(
    bench: Bench,
    data: str,
    results: Results,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None],
    executor: BenchExecutor,
) -> None:
    tasks = _list_open_tasks(_list_tasks(bench, data), results)
    if any(task.line.reads != "events" for task in tasks):
        _encode_items(bench, results, options, executor)
    rows = executor.as_finished(compute_row, tasks, _list_dependencies(tasks))
    for row in options.progress.track(rows, "rows", len(tasks)) if tasks else ():
        if "reason" in row:
            results.skip(row)
        else:
            task = next(candidate for candidate in tasks if _is_row_of(row, candidate))
            results.add(
                {**row, "config": _describe_config(bench, task.line), "digest": task.digest}
            )
        on_row(row)


def _encode_items(
    bench: Bench, results: Results, options: TrainOptions, executor: BenchExecutor
) -> None:
    task = VectorTask(
        str(bench.data),
        bench.encoder,
        str(bench.cache or bench.work / "cache"),
        str(bench.content),
        options,
    )
    (seconds,) = executor.as_finished(encode_items, [task])
    results.document["encode_cpu_s"] = seconds
    results.document["encoder"] = describe_encoder(bench.encoder)
    results.write()


def _list_tasks(bench: Bench, data: str) -> list[ExperimentTask]:
    """Tasks of all rows, ordered by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    for name, line in bench.models.items():
        parts = [digests[part] for part in line.parts]
        digests[name] = _compute_digest(
            bench.kind, data, name, _describe_config(bench, line), parts
        )
    return [
        ExperimentTask(
            bench.kind,
            name,
            line,
            seed,
            str(bench.data),
            str(bench.content),
            str(get_row_folder(bench.work, name, seed)),
            digests[name],
            {
                part: str(
                    get_row_folder(bench.work, part, seed if bench.models[part].random else 0)
                )
                for part in line.parts
            },
        )
        for seed in range(bench.seeds)
        for name, line in bench.models.items()
        if line.random or seed == 0
    ]


def _list_open_tasks(tasks: list[ExperimentTask], results: Results) -> list[ExperimentTask]:
    """Tasks without a finished row of the same digest."""
    for task in tasks:
        model = {name: field_value for name, field_value in task.key.items() if name != "seed"}
        results.drop_outdated(model, task.digest)
    return [
        task
        for task in tasks
        if not (results.has(task.key) and is_finished(Path(task.folder), task.digest))
    ]


def _list_dependencies(tasks: list[ExperimentTask]) -> dict[int, list[int]]:
    """Index of a task -> indices of the tasks of its parts."""
    indices = {task.folder: index for index, task in enumerate(tasks)}
    return {
        index: [indices[folder] for folder in task.parts.values() if folder in indices]
        for index, task in enumerate(tasks)
    }


def _describe_config(bench: Bench, line: BenchModel) -> dict[str, Any]:
    """Configuration that determines the input and the behaviour of a model."""
    config: dict[str, Any] = {
        "model": line.model,
        "reads": line.reads,
        "values": expand_config(line),
        "parts": list(line.parts),
    }
    if line.reads != "events":
        config["encoder"] = describe_encoder(bench.encoder)
    if line.reads.startswith("aligned"):
        config["alignment"] = {"rank": RANK, "steps": 1}
    if line.reads.endswith("codes"):
        config["semantic_ids"] = SEMANTIC_IDS.model_dump(mode="json")
    return config


def _compute_digest(*parts: Any) -> str:
    text = json.dumps([PROTOCOL_VERSION, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_row_of(row: Mapping[str, Any], task: ExperimentTask) -> bool:
    return all(row[name] == value for name, value in task.key.items())


def _is_finished(bench: Bench, row: Mapping[str, Any]) -> bool:
    name = str(row.get("mode", row["model"]))
    return is_finished(get_row_folder(bench.work, name, int(row["seed"])), str(row["digest"]))
