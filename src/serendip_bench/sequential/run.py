"""``serendip bench``: every row in a process of its own, appended as it finishes, resumable.

From rows to one line per model, and to paired differences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from serendip.content.config import AlignmentConfig
from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.dataset import STEPS
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.full_ranking import LABELS, values_of_ranks
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Values
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.results import Results
from serendip_bench.sequential.models import ENCODER, SEMANTIC_IDS, BenchModel, full_config
from serendip_bench.sequential.rows import (
    COLD_FILE,
    RANKS_FILE,
    ExperimentTask,
    Kind,
    is_left,
    make_row,
    row_folder,
)
from serendip_bench.vectors import VectorTask, encode_items, encoder_facts
from serendip_bench.work_folder import open_results, work_folder

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


@dataclass(frozen=True, slots=True)
class Bench:
    """What to run, and where the results go.

    Args:
        kind: which benchmark.
        data: folder with ``sequences.txt`` and ``items.jsonl``.
        file: the results; models, ranks and vectors lie in ``<file>.work``.
        models: lines of the table.
        seeds: 0 .. seeds - 1 for models that have any use for them.
        cache: folder of the vector cache; None = inside of ``<file>.work``.
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
        """What a resumed run reads again."""
        return work_folder(self.file)

    @property
    def content(self) -> Path:
        """The vectors of all items."""
        return self.work / "content.npy"


def run_bench(
    bench: Bench,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Make all rows that the results file lacks, then summarise.

    Args:
        bench: what to run.
        options: progress; seeds are the benchmark's own.
        on_row: sees each row as it is finished, and for each model that refuses this data its
            key and the ``reason``.
        executor: where rows are made; two local processes of one thread by default.

    Returns:
        the document that the results file holds.

    Raises:
        ConfigError: seeds < 1, or the results file cannot be written or holds something else.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same results file.
    """
    with open_results(bench.kind, bench.data, bench.file, bench.seeds) as results:
        data = results.document["protocol"]["data"]
        _make_rows(bench, data, results, options, on_row, executor or LocalExecutor())
        left = [row for row in results.rows if _is_left(bench, row)]
        summarise = summarise_cold if bench.kind == "cold" else summarise_sequential
        results.document["summary"] = summarise(left, bench.work)
        results.write()
    return results.document


def _make_rows(
    bench: Bench,
    data: str,
    results: Results,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None],
    executor: Executor,
) -> None:
    tasks = _open_tasks(_all_tasks(bench, data), results)
    if any(task.line.reads != "events" for task in tasks):
        _encode(bench, results, options, executor)
    found = executor.as_finished(make_row, tasks, _dependencies(tasks))
    for row in options.progress.track(found, "rows", len(tasks)) if tasks else ():
        if "reason" in row:
            results.skip(row)
        else:
            task = next(one for one in tasks if _is_of(row, one))
            results.add({**row, "config": _config(bench, task.line), "digest": task.digest})
        on_row(row)


def _encode(bench: Bench, results: Results, options: TrainOptions, executor: Executor) -> None:
    task = VectorTask(
        str(bench.data),
        bench.encoder,
        str(bench.cache or bench.work / "cache"),
        str(bench.content),
        options,
    )
    (seconds,) = executor.as_finished(encode_items, [task])
    results.document["encode_cpu_s"] = seconds
    results.document["encoder"] = encoder_facts(bench.encoder)
    results.write()


def _all_tasks(bench: Bench, data: str) -> list[ExperimentTask]:
    """Seed by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    for name, line in bench.models.items():
        parts = [digests[part] for part in line.parts]
        digests[name] = _digest(bench.kind, data, name, _config(bench, line), parts)
    return [
        ExperimentTask(
            bench.kind,
            name,
            line,
            seed,
            str(bench.data),
            str(bench.content),
            str(row_folder(bench.work, name, seed)),
            digests[name],
            {
                part: str(row_folder(bench.work, part, seed if bench.models[part].random else 0))
                for part in line.parts
            },
        )
        for seed in range(bench.seeds)
        for name, line in bench.models.items()
        if line.random or seed == 0
    ]


def _open_tasks(tasks: list[ExperimentTask], results: Results) -> list[ExperimentTask]:
    """Those without a finished row of the same digest."""
    for task in tasks:
        model = {name: value for name, value in task.key.items() if name != "seed"}
        results.drop_outdated(model, task.digest)
    return [
        task
        for task in tasks
        if not (results.has(task.key) and is_left(Path(task.folder), task.digest))
    ]


def _dependencies(tasks: list[ExperimentTask]) -> dict[int, list[int]]:
    """Place of a task -> places of the tasks of its parts."""
    places = {task.folder: place for place, task in enumerate(tasks)}
    return {
        place: [places[folder] for folder in task.parts.values() if folder in places]
        for place, task in enumerate(tasks)
    }


def _config(bench: Bench, line: BenchModel) -> dict[str, Any]:
    """Everything that decides what a model gets and does."""
    config: dict[str, Any] = {
        "model": line.model,
        "reads": line.reads,
        "values": full_config(line),
        "parts": list(line.parts),
    }
    if line.reads != "events":
        config["encoder"] = encoder_facts(bench.encoder)
    if line.reads.startswith("aligned"):
        config["alignment"] = {**AlignmentConfig().model_dump(mode="json"), "steps": STEPS}
    if line.reads.endswith("codes"):
        config["semantic_ids"] = SEMANTIC_IDS.model_dump(mode="json")
    return config


def _digest(*parts: Any) -> str:
    text = json.dumps([PROTOCOL_VERSION, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_of(row: Mapping[str, Any], task: ExperimentTask) -> bool:
    return all(row[name] == value for name, value in task.key.items())


def _is_left(bench: Bench, row: Mapping[str, Any]) -> bool:
    name = str(row.get("mode", row["model"]))
    return is_left(row_folder(bench.work, name, int(row["seed"])), str(row["digest"]))
