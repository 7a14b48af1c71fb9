"""``serendip bench unified``: one model for all tasks beside specialists and baselines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.content.encoders.text import TextEncoderConfig
from serendip.models.relevance.train import has_trees
from serendip.models.retriever.config import RetrieverConfig
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip.workflow.bench.unified_engine import can_be_made, make_rows, rankers_facts
from serendip.workflow.bench.unified_rows import UnifiedTask, ranks_path
from serendip.workflow.bench.unified_summary import (
    TWO_MODELS,
    alignment_of,
    summarise_unified,
    two_models,
)
from serendip.workflow.bench.unified_table import UnifiedModel
from serendip_bench.datasets.registry import form_of
from serendip_bench.protocol import PROTOCOL_VERSION
from serendip_bench.results import Results
from serendip_bench.sequential.models import ENCODER, SEMANTIC_IDS
from serendip_bench.sequential.rows import DIGEST_FILE, row_folder
from serendip_bench.vectors import EncodeTask, encode_items, encoder_facts
from serendip_bench.work_folder import opened_results, work_folder


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
        return self.encoder.model_copy(update={"fields": form_of(self.data).fields})


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
    with opened_results("unified", bench.data, bench.file, bench.seeds) as results:
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
            results.drop_others({"line": key["line"]}, task.digest)
    tasks, missing = can_be_made(tasks, has_trees())
    for model in missing:
        results.skip(model)
        on_row(model)
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


def _encodings(bench: UnifiedBench, options: TrainOptions) -> list[EncodeTask]:
    """Vectors of the items, and of the queries that are made of them."""
    cache, data, reader = str(bench.cache or bench.work / "cache"), str(bench.data), bench.reader
    content, words = str(bench.work / "content.npy"), str(bench.work / "words.npy")
    return [
        EncodeTask(data, reader, cache, content, options),
        EncodeTask(data, reader, f"{cache}-queries", words, options, "queries"),
    ]


def _all_tasks(bench: UnifiedBench) -> list[UnifiedTask]:
    """Seed by seed, so that every model has a first row early."""
    digests: dict[str, str] = {}
    sets = form_of(bench.data).sets(bench.data)
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
        form_of(bench.data).digest(bench.data),
        name,
        config,
        line.reads_codes,
        asked,
    ]
    parts += [encoder_facts(bench.reader), SEMANTIC_IDS.model_dump(mode="json")]
    parts += rankers_facts() if line.asks == "engine" else []
    parts += [] if form_of(bench.data).logs_searches else ["no searches are logged"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
