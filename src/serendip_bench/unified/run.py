"""``serendip bench unified``: one model for all tasks beside specialists and baselines.

From rows to one line per task and model, and to what is paired by user.

``unified`` is compared with each of the others, ``engine`` with the baselines of what is served.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates
from serendip.evaluate.runs import Values
from serendip.evaluate.task_transfer import TaskModels, select_shared_seeds
from serendip.models.retriever.config import RetrieverConfig
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.registry import dataset_of
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.results import Results
from serendip_bench.sequential.models import ENCODER, SEMANTIC_IDS
from serendip_bench.sequential.rows import DIGEST_FILE, row_folder
from serendip_bench.unified.engine import make_rows, rankers_facts
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.rows import (
    UNIFIED_LABELS,
    UnifiedTask,
    left_values,
    question,
    ranks_path,
)
from serendip_bench.unified.word_scores import WordScorer
from serendip_bench.vectors import VectorTask, encode_items, encoder_facts
from serendip_bench.work_folder import open_results, work_folder

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
    return select_shared_seeds(rows, others)


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


@dataclass(frozen=True, slots=True)
class UnifiedBench:
    """What to run, and where the results go.

    Args:
        data: folder of a kind that ``forms`` knows.
        file: the results; models, ranks and vectors lie in ``<file>.work``.
        lines: of the table; those that others ask come before them.
        seeds: 0 .. seeds - 1; lines without chance run once, and some at most ``most_seeds`` times.
        cache: folder of the vector cache; None = inside of ``<file>.work``.
        encoder: of the items' texts and of the queries; which fields are read, the kind says.
    """

    data: Path
    file: Path
    lines: Mapping[str, UnifiedModel]
    seeds: int = 3
    cache: Path | None = None
    encoder: TextEncoderConfig = ENCODER

    @property
    def work(self) -> Path:
        """What a resumed run reads again."""
        return work_folder(self.file)

    @property
    def reader(self) -> TextEncoderConfig:
        """The encoder with the fields of the kind of data."""
        return self.encoder.model_copy(update={"fields": dataset_of(self.data).fields})


def run_unified(
    bench: UnifiedBench,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Make all rows that the results file lacks, then summarise; see ``run_bench``.

    Returns:
        the document that the results file holds.

    Raises:
        ConfigError: seeds < 1, or the results file cannot be written or holds something else.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same results file.
    """
    with open_results("unified", bench.data, bench.file, bench.seeds) as results:
        _make(bench, results, options, on_row, executor or LocalExecutor())
        measured = [row for row in results.rows if row["model"] != TWO_MODELS]
        results.document |= alignment_of(measured)
        results.document["rows"] = measured + two_models(measured, results.document["grouping"])
        results.document["summary"] = summarise_unified(results.rows, bench.work)
        results.write()
    return results.document


def _make(
    bench: UnifiedBench,
    results: Results,
    options: TrainOptions,
    on_row: Callable[[dict[str, Any]], None],
    executor: Executor,
) -> None:
    tasks = _all_tasks(bench)
    for task in tasks:
        for key in task.keys:
            results.drop_outdated({"line": key["line"]}, task.digest)
    open_tasks = [task for task in tasks if not _is_made(task, results)]
    if not open_tasks:
        return
    seconds = executor.as_finished(encode_items, _encodings(bench, options))
    results.document["encode_cpu_s"] = sum(seconds)
    results.document["encoder"] = encoder_facts(bench.reader)
    places = {task.folder: place for place, task in enumerate(open_tasks)}
    after = {
        place: [places[task.asked]] for place, task in enumerate(open_tasks) if task.asked in places
    }
    digests = {(k["line"], k["seed"]): task.digest for task in open_tasks for k in task.keys}
    found = executor.as_finished(make_rows, open_tasks, after)
    for rows in options.progress.track(found, "models", len(open_tasks)):
        for row in rows:
            results.add({**row, "digest": digests[row["line"], row["seed"]]})
            on_row(row)


def _is_made(task: UnifiedTask, results: Results) -> bool:
    folder = Path(task.folder)
    mark = folder / DIGEST_FILE
    is_same = mark.exists() and mark.read_text(encoding="utf-8") == task.digest
    return is_same and all(
        results.has(key) and ranks_path(folder.parent, key).exists() for key in task.keys
    )


def _encodings(bench: UnifiedBench, options: TrainOptions) -> list[VectorTask]:
    """Vectors of the items, and of the queries that are made of them."""
    cache, data, reader = str(bench.cache or bench.work / "cache"), str(bench.data), bench.reader
    content, words = str(bench.work / "content.npy"), str(bench.work / "words.npy")
    return [
        VectorTask(data, reader, cache, content, options),
        VectorTask(data, reader, f"{cache}-queries", words, options, "queries"),
    ]


def _all_tasks(bench: UnifiedBench) -> list[UnifiedTask]:
    """Seed by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    sets = dataset_of(bench.data).sets(bench.data)
    for name, line in bench.lines.items():
        digests[name] = _digest(bench, name, line, digests.get(line.of or "", ""))
    return [
        UnifiedTask(
            name,
            line,
            seed,
            str(bench.data),
            str(bench.work / "content.npy"),
            str(bench.work / "words.npy"),
            str(row_folder(bench.work, name, seed)),
            digests[name],
            str(row_folder(bench.work, line.of, seed)) if line.of else "",
            sets,
        )
        for seed in range(bench.seeds)
        for name, line in bench.lines.items()
        if seed < _seeds_of(line, bench.seeds)
    ]


def _seeds_of(line: UnifiedModel, asked: int) -> int:
    """How often a line is run; once where nothing is left to chance."""
    if not line.uses_chance:
        return 1
    return asked if line.most_seeds is None else min(asked, line.most_seeds)


def _digest(bench: UnifiedBench, name: str, line: UnifiedModel, asked: str) -> str:
    config = RetrieverConfig(**line.config).model_dump(mode="json")
    parts = [
        PROTOCOL_VERSION,
        dataset_of(bench.data).digest(bench.data),
        name,
        config,
        line.reads_codes,
        asked,
    ]
    parts += [encoder_facts(bench.reader), SEMANTIC_IDS.model_dump(mode="json")]
    parts += rankers_facts() if line.asks == "engine" else []
    parts += [] if dataset_of(bench.data).logs_searches else ["no searches are logged"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
