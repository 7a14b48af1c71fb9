"""``serendip bench``: every row in a process of its own, appended as it finishes, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.content.config import AlignmentConfig
from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.dataset import STEPS
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip.workflow.bench.rows import Kind, RowTask, is_left, make_row, row_folder
from serendip.workflow.bench.summary import summarise_cold, summarise_sequential
from serendip.workflow.bench.table import ENCODER, SEMANTIC_IDS, BenchModel, full_config
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.results import Results
from serendip_bench.vectors import EncodeTask, encode_items, encoder_facts
from serendip_bench.work_folder import opened_results, work_folder


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
    with opened_results(bench.kind, bench.data, bench.file, bench.seeds) as results:
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
    task = EncodeTask(
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


def _all_tasks(bench: Bench, data: str) -> list[RowTask]:
    """Seed by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    for name, line in bench.models.items():
        parts = [digests[part] for part in line.parts]
        digests[name] = _digest(bench.kind, data, name, _config(bench, line), parts)
    return [
        RowTask(
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


def _open_tasks(tasks: list[RowTask], results: Results) -> list[RowTask]:
    """Those without a finished row of the same digest."""
    for task in tasks:
        model = {name: value for name, value in task.key.items() if name != "seed"}
        results.drop_others(model, task.digest)
    return [
        task
        for task in tasks
        if not (results.has(task.key) and is_left(Path(task.folder), task.digest))
    ]


def _dependencies(tasks: list[RowTask]) -> dict[int, list[int]]:
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


def _is_of(row: Mapping[str, Any], task: RowTask) -> bool:
    return all(row[name] == value for name, value in task.key.items())


def _is_left(bench: Bench, row: Mapping[str, Any]) -> bool:
    name = str(row.get("mode", row["model"]))
    return is_left(row_folder(bench.work, name, int(row["seed"])), str(row["digest"]))
