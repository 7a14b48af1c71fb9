"""``serendip bench unified``: one model for all tasks, compared with specialists and baselines.

Rows are summarised to one line per task and model, with differences paired by user. ``unified`` is
compared with every other model, ``engine`` with the baselines of the served engine, the rankers of
search and the order that a training would choose with these and with ``engine``.

Shapes: U users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates
from serendip.evaluate.runs import Values
from serendip.evaluate.task_transfer import TaskModels
from serendip.models.retriever.config import RetrieverConfig
from serendip.runtime.progress import TrainOptions
from serendip_bench.bench_executor import BenchExecutor
from serendip_bench.datasets.registry import detect_dataset
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.results import Results
from serendip_bench.sequential.models import ENCODER, SEMANTIC_IDS
from serendip_bench.sequential.rows import DIGEST_FILE, get_row_folder
from serendip_bench.unified.engine import compute_engine_rows, describe_rankers
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.rows import (
    UNIFIED_LABELS,
    UnifiedTask,
    compute_model_rows,
    get_ranks_path,
    load_values,
    name_request_set,
)
from serendip_bench.unified.search_order import (
    CHOSEN,
    LABELLED,
    WRITTEN,
    compute_search_rows,
)
from serendip_bench.unified.word_scores import WordScorer
from serendip_bench.vectors import VectorTask, describe_encoder, encode_items
from serendip_bench.work_folder import get_work_folder, open_results

SUBJECT, SERVED, SERVED_WITHOUT = "unified", "engine", "engine-no-queries"
_WORDS = ("bm25", "vectors", "rrf")
_BASELINES: Mapping[str, tuple[str, ...]] = {
    SERVED: (*_WORDS, "lightgbm", SERVED_WITHOUT),
    WRITTEN: (*_WORDS, SERVED),
    LABELLED: (*_WORDS, SERVED, WRITTEN),
    CHOSEN: (*_WORDS, SERVED, LABELLED),
}
"""System -> models that it is compared with; ``SUBJECT`` is compared with all."""
TWO_MODELS = "two-models"
_TRAINED = {"unified", "pair", "specialist"}
_MEAN_FIELDS = ("R@10", "N@10", "R@100", "judged@10", "cpu_s", "params", "score_cpu_s")

Row = Mapping[str, Any]
Key = tuple[str, str, str]
"""Task, set (empty where the task has none), model."""


def summarise_unified(rows: Sequence[Row], work: Path) -> dict[str, Any]:
    """Means over seeds, intervals over users, and differences paired by user.

    ``comparisons`` also have the relative difference of the means and its interval: the
    difference and its ends, divided by the mean of the baseline. Models are compared on the seeds
    that both have; deterministic ones are compared with all seeds.
    """
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        key = str(row["task"]), str(row.get("set", "")), str(row["model"])
        groups.setdefault(key, []).append(row)
    models = [
        _summarise_line(key, groups[key], _load_values(groups[key], work)) for key in sorted(groups)
    ]
    pairs = [
        (key, system, _pair_rows(groups[*key[:2], system], baseline_rows))
        for system in (SUBJECT, *_BASELINES)
        for key, baseline_rows in sorted(groups.items())
        if (*key[:2], system) in groups and _is_baseline(key[2], system)
    ]
    comparisons = [
        _compare(key, system, *row_pair, work) for key, system, row_pair in pairs if all(row_pair)
    ]
    return {"models": models, "comparisons": comparisons}


def _pair_rows(rows: Sequence[Row], others: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Rows of two models for a comparison: of the seeds that both have."""
    if others[0]["model"] in get_args(WordScorer):
        return rows, others
    shared = {row["seed"] for row in rows} & {row["seed"] for row in others}
    left, right = ([row for row in part if row["seed"] in shared] for part in (rows, others))
    return left, right


def _is_baseline(model: str, system: str) -> bool:
    return model != SUBJECT if system == SUBJECT else model in _BASELINES[system]


def measure_transfer(rows: Sequence[Row]) -> dict[str, Any]:
    """``transfer`` and ``grouping`` of the tasks; empty while a specialist has no rows.

    Seeds that not all models have are left out. If a task has rows of all its requests and of sets
    of them, the sets are ignored; if it has sets only, their mean counts.
    """
    unsplit_tasks = {row["task"] for row in rows if "set" not in row}
    trained = [
        row
        for row in rows
        if row["model"] in _TRAINED and not ("set" in row and row["task"] in unsplit_tasks)
    ]
    seeds_of_line: dict[str, set[int]] = {}
    for row in trained:
        seeds_of_line.setdefault(row["line"], set()).add(row["seed"])
    shared = set.intersection(*seeds_of_line.values()) if seeds_of_line else set()
    trained = [row for row in trained if row["seed"] in shared]
    models = TaskModels(trained)
    specialist_tasks = {str(row["task"]) for row in trained if row["model"] == "specialist"}
    if not trained or specialist_tasks != set(models.tasks):
        return {"transfer": {}, "grouping": {}}
    return {"transfer": models.transfer(), "grouping": models.groupings()}


def build_two_model_rows(rows: Sequence[Row], grouping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the best split into two models, renamed to ``two-models``; empty while unknown."""
    groups = grouping.get("2", {}).get("groups", [])
    group_of = {task: set(group) for group in groups for task in group}
    tasks_of: dict[str, set[str]] = {}
    for row in rows:
        tasks_of.setdefault(str(row["line"]), set()).add(str(row["task"]))
    return [
        {**row, "model": TWO_MODELS}
        for row in rows
        if row["model"] in _TRAINED and tasks_of[str(row["line"])] == group_of.get(str(row["task"]))
    ]


def _load_values(rows: Sequence[Row], work: Path) -> Values:
    """(U, 3) means over the seeds."""
    seed_values = [
        load_values(get_row_folder(work, str(row["line"]), int(row["seed"])), name_request_set(row))
        for row in rows
    ]
    values: Values = np.mean(seed_values, axis=0)
    return values


def _to_fields(key: Key) -> dict[str, str]:
    """Task and, if there is one, set."""
    return {"task": key[0], **({"set": key[1]} if key[1] else {})}


def _summarise_line(key: Key, rows: Sequence[Row], values: Values) -> dict[str, Any]:
    intervals = zip(UNIFIED_LABELS, estimates(values), strict=True)
    return {
        **_to_fields(key),
        "model": key[2],
        "seeds": [row["seed"] for row in rows],
        **{
            name: float(np.mean([row[name] for row in rows]))
            for name in _MEAN_FIELDS
            if all(name in row for row in rows)
        },
        "ci95": {label: [estimate.low, estimate.high] for label, estimate in intervals},
    }


def _compare(
    key: Key, system: str, rows: Sequence[Row], others: Sequence[Row], work: Path
) -> dict[str, Any]:
    column = UNIFIED_LABELS.index("N@10")
    pair = _load_values(rows, work)[:, column], _load_values(others, work)[:, column]
    comparison = asdict(compare_values((system, key[2], "N@10"), *pair))
    mean = float(pair[1].mean())
    relative = {
        f"relative_{name}": comparison[name] / mean if mean else None
        for name in ("difference", "low", "high")
    }
    seeds = {
        "seeds": [row["seed"] for row in rows],
        "baseline_seeds": [row["seed"] for row in others],
    }
    return {**_to_fields(key), **comparison, **relative, **seeds}


@dataclass(frozen=True, slots=True)
class UnifiedBench:
    """Settings of a run.

    Args:
        data: folder of any kind in ``datasets.registry``.
        file: the results; models, ranks and vectors are stored in ``<file>.work``.
        lines: of the table; a line that uses another one comes after it.
        seeds: number of seeds; 1 for deterministic lines, up to ``most_seeds`` for others.
        cache: folder of the vector cache; None = in ``<file>.work``.
        encoder: of items and queries; its fields are those of the kind of data.
    """

    data: Path
    file: Path
    lines: Mapping[str, UnifiedModel]
    seeds: int = 3
    cache: Path | None = None
    encoder: TextEncoderConfig = ENCODER

    @property
    def work(self) -> Path:
        """Folder of files for resumed runs."""
        return get_work_folder(self.file)

    @property
    def reader(self) -> TextEncoderConfig:
        """The encoder with the fields of the kind of data."""
        return self.encoder.model_copy(update={"fields": detect_dataset(self.data).fields})


def run_unified(
    bench: UnifiedBench,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    executor: BenchExecutor | None = None,
) -> dict[str, Any]:
    """Compute the rows that the results file lacks, then summarise; see ``run_bench``.

    Returns:
        the document of the results file.

    Raises:
        ConfigError: seeds < 1, or the results file cannot be written or is not a results file.
        DataError: the data is missing or invalid.
        StorageError: another process uses the same results file.
    """
    with open_results("unified", bench.data, bench.file, bench.seeds) as results:
        _compute_rows(bench, results, options, on_row, executor or BenchExecutor())
        measured = [row for row in results.rows if row["model"] != TWO_MODELS]
        results.document |= measure_transfer(measured)
        results.document["rows"] = measured + build_two_model_rows(
            measured, results.document["grouping"]
        )
        results.document["summary"] = summarise_unified(results.rows, bench.work)
        results.write()
    return results.document


def compute_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """Compute the rows of any line of the table."""
    if task.line.scorer == "engine":
        return compute_engine_rows(task)
    return compute_search_rows(task) if task.line.scorer == "rankers" else compute_model_rows(task)


def _compute_rows(
    bench: UnifiedBench,
    results: Results,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None],
    executor: BenchExecutor,
) -> None:
    tasks = _list_tasks(bench)
    for task in tasks:
        for key in task.keys:
            results.drop_outdated({"line": key["line"]}, task.digest)
    open_tasks = [task for task in tasks if not _is_finished(task, results)]
    if not open_tasks:
        return
    seconds = executor.as_finished(encode_items, _list_encodings(bench, options))
    results.document["encode_cpu_s"] = sum(seconds)
    results.document["encoder"] = describe_encoder(bench.reader)
    indices = {task.folder: index for index, task in enumerate(open_tasks)}
    after = {
        index: [indices[task.model_folder]]
        for index, task in enumerate(open_tasks)
        if task.model_folder in indices
    }
    digests = {(key["line"], key["seed"]): task.digest for task in open_tasks for key in task.keys}
    finished = executor.as_finished(compute_rows, open_tasks, after)
    for rows in options.progress.track(finished, "models", len(open_tasks)):
        for row in rows:
            results.add({**row, "digest": digests[row["line"], row["seed"]]})
            on_row(row)


def _is_finished(task: UnifiedTask, results: Results) -> bool:
    folder = Path(task.folder)
    digest_file = folder / DIGEST_FILE
    is_same = digest_file.exists() and digest_file.read_text(encoding="utf-8") == task.digest
    return is_same and all(
        results.has(key) and get_ranks_path(folder.parent, key).exists() for key in task.keys
    )


def _list_encodings(bench: UnifiedBench, options: TrainOptions) -> list[VectorTask]:
    """Encoding tasks of items and queries."""
    cache, data, reader = str(bench.cache or bench.work / "cache"), str(bench.data), bench.reader
    content, words = str(bench.work / "content.npy"), str(bench.work / "words.npy")
    return [
        VectorTask(data, reader, cache, content, options),
        VectorTask(data, reader, f"{cache}-queries", words, options, "queries"),
    ]


def _list_tasks(bench: UnifiedBench) -> list[UnifiedTask]:
    """Tasks of all rows, ordered by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    sets = detect_dataset(bench.data).sets(bench.data)
    for name, line in bench.lines.items():
        digests[name] = _compute_digest(bench, name, line, digests.get(line.of or "", ""))
    return [
        UnifiedTask(
            name,
            line,
            seed,
            str(bench.data),
            str(bench.work / "content.npy"),
            str(bench.work / "words.npy"),
            str(get_row_folder(bench.work, name, seed)),
            digests[name],
            str(get_row_folder(bench.work, line.of, seed)) if line.of else "",
            sets,
        )
        for seed in range(bench.seeds)
        for name, line in bench.lines.items()
        if seed < _count_seeds(line, bench.seeds)
    ]


def _count_seeds(line: UnifiedModel, seeds: int) -> int:
    """Number of seeds of a line."""
    if not line.uses_chance:
        return 1
    return seeds if line.most_seeds is None else min(seeds, line.most_seeds)


def _compute_digest(bench: UnifiedBench, name: str, line: UnifiedModel, model_digest: str) -> str:
    config = RetrieverConfig(**line.config).model_dump(mode="json")
    parts = [
        PROTOCOL_VERSION,
        detect_dataset(bench.data).digest(bench.data),
        name,
        config,
        line.reads_codes,
        model_digest,
    ]
    parts += [describe_encoder(bench.reader), SEMANTIC_IDS.model_dump(mode="json")]
    parts += describe_rankers() if line.scorer in ("engine", "rankers") else []
    parts += [] if detect_dataset(bench.data).logs_searches else ["no searches are logged"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
