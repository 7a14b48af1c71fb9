"""The rows of one model: train it in a process of its own, and rank the targets of all requests.

What a row was computed from is in the name of its files, so that a run that ended early goes on.

Shapes: T rows of requests, U units, N items, C content size.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data import Dataset, FloatArray, Query
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.features import ItemFeatures
from serendip.data.splits import tail_border
from serendip.errors import DataError, UnsupportedError
from serendip.evaluate.intervals import estimates
from serendip.evaluate.metrics import gini, shown_items
from serendip.evaluate.runs import Groups, Values
from serendip.models import model_class
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import SilentProgress, TrainOptions, peak_memory_mb
from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    FILM_FILES,
    REQUESTS_FILE,
    read_movielens,
    split_movielens,
)
from serendip_bench.datasets.products import (
    PRODUCT_FIELDS,
    PRODUCT_FILES,
    read_products,
    split_products,
)
from serendip_bench.datasets.sequences import SEQUENCE_FILES, TEXT_FIELDS, read_sequences
from serendip_bench.ranking.models import BenchModel
from serendip_bench.ranking.requests import LABELS
from serendip_bench.ranking.splits import SEMANTIC_IDS, BenchSplit, split_sequences, split_tasks
from serendip_bench.ranking.word_scores import WORD_SCORERS, WordScores
from serendip_bench.results import TextVectors

VERSION = 2
"""Increases whenever the same model would get other numbers."""

TOP = 10

Kind = Literal["sequential", "cold", "unified"]


@dataclass(frozen=True, slots=True)
class BenchData:
    """A folder of data, as a benchmark reads it."""

    kind: Kind
    folder: Path
    encoder: str
    cache: Path

    @property
    def is_products(self) -> bool:
        """Judged products, which have no log."""
        return self._has(PRODUCT_FILES)

    @property
    def _is_films(self) -> bool:
        return self.kind == "unified" and self._has(FILM_FILES)

    def _has(self, files: Sequence[str]) -> bool:
        return all((self.folder / name).exists() for name in files)

    def digest(self) -> str:
        """Hash of the contents of all files."""
        if self._is_films:
            beside = self.folder.resolve().parent / REQUESTS_FILE
            paths = [*(self.folder / name for name in FILM_FILES), beside]
            return hash_files(path for path in paths if path.exists())
        names = PRODUCT_FILES if self.is_products else SEQUENCE_FILES
        return hash_files(self.folder / name for name in names)

    def read(self) -> Dataset:
        """Items in the order of their file, and events.

        Raises:
            DataError: a file is missing or invalid.
        """
        if self._is_films:
            return read_movielens(self.folder)
        return read_products(self.folder) if self.is_products else read_sequences(self.folder)

    def split(self, dataset: Dataset, seed: int) -> BenchSplit:
        """Training data and requests; those of search without vectors."""
        if self._is_films:
            return split_movielens(dataset, self.folder)
        if self.is_products:
            return split_products(dataset, self.folder)
        if self.kind == "unified":
            return split_tasks(dataset)
        return split_sequences(dataset, seed if self.kind == "cold" else None)

    def open(self, seed: int, reads: str = "content") -> tuple[BenchSplit, FloatArray]:
        """The split, and content vectors (N, C) of its items; (N, 0) if only events are read."""
        dataset = self.read()
        split = self.split(dataset, seed)
        if reads == "events":
            return split, np.zeros((dataset.num_items, 0), np.float32)
        vectors = TextVectors(self.encoder, self.cache, SilentProgress())
        fields = FILM_FIELDS if self._is_films else TEXT_FIELDS
        fields = PRODUCT_FIELDS if self.is_products else fields
        return split.with_vectors(vectors.encode), vectors.encode(split.catalogue.texts(fields))


@dataclass(frozen=True, slots=True)
class ModelTask:
    """Input of the rows of a line.

    Args:
        seed: of training, and in the cold benchmark of the items that are held out.
    """

    name: str
    line: BenchModel
    seed: int
    data: BenchData
    work: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.name} (seed {self.seed})"

    @property
    def file(self) -> Path:
        """The rows; their values per unit are beside it."""
        what = [VERSION, self.data.kind, self.digest, self.line.reads, self.line.expand_config()]
        if self.line.reads != "events":
            what += [self.data.encoder, SEMANTIC_IDS.model_dump(mode="json")]
        text = json.dumps([*what, self.line.tasks], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.work / f"{self.name}-{self.seed}-{digest}.json"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A finished row: a set of requests that a model was tested by.

    Args:
        fields: as in the results.
        units: (U,) users, tags or conversations.
        values: (U, 5) their metrics.
    """

    fields: Mapping[str, Any]
    units: Groups
    values: Values


def load_rows(task: ModelTask) -> list[Row]:
    """Rows of a finished task."""
    rows = json.loads(task.file.read_text(encoding="utf-8"))["rows"]
    with np.load(task.file.with_suffix(".npz"), allow_pickle=False) as stored:
        return [
            Row(row, stored[f"units {row['set']}"], stored[f"values {row['set']}"]) for row in rows
        ]


def compute_rows(task: ModelTask) -> ModelTask:
    """Train and test one model, and store its rows; returns the task.

    A model that cannot use the data has one row, with the ``reason``.
    """
    try:
        rows = _compute_rows(task)
    except (DataError, UnsupportedError) as error:
        fields = {"set": "", "model": task.line.shown or task.name, "seed": task.seed}
        empty = np.empty((0, len(LABELS)))
        rows = [Row({**fields, "reason": str(error)}, np.empty(0, np.intp), empty)]
    arrays: dict[str, Any] = {f"units {row.fields['set']}": row.units for row in rows}
    arrays |= {f"values {row.fields['set']}": row.values for row in rows}
    np.savez(task.file.with_suffix(".npz"), **arrays)
    write_json(task.file, {"rows": [dict(row.fields) for row in rows]})
    return task


def _compute_rows(task: ModelTask) -> list[Row]:
    split, content = task.data.open(task.seed, task.line.reads)
    score, costs = _train(task, split, content)
    is_cold = task.data.kind == "cold"
    found, lists = [], []
    for name, requests in split.tests.items():
        if task.line.tasks and name.partition("-")[0] not in task.line.tasks:
            continue
        began = time.process_time()
        ranks, shown = requests.rank(score, TOP if is_cold else 0)
        costs["score_cpu_s"] = round(time.process_time() - began, 3)
        lists.append(shown)
        units, values = requests.measure(ranks)
        validation = split.validation[name if name in split.validation else "home"]
        _, valid = validation.measure(validation.rank(score)[0])
        of_label = dict(zip(LABELS, estimates(values), strict=True))
        fields = {
            "set": name,
            "model": task.line.shown or task.name,
            "seed": task.seed,
            **{label: estimate.value for label, estimate in of_label.items()},
            "ci95": {label: [one.low, one.high] for label, one in of_label.items()},
            "units": len(units),
            "valid_N@10": float(valid[:, LABELS.index("N@10")].mean()) if len(valid) else None,
            **costs,
            "peak_mb": round(peak_memory_mb(), 1),
        }
        found.append(Row(fields, units, values))
    exposure = _measure_exposure(np.concatenate(lists), split) if is_cold else {}
    return [Row({**row.fields, **exposure}, row.units, row.values) for row in found]


def _train(
    task: ModelTask, split: BenchSplit, content: FloatArray
) -> tuple[Callable[[Sequence[Query]], FloatArray], dict[str, Any]]:
    """A function from requests to scores (B, N), and what its training cost."""
    line, options = task.line, TrainOptions(task.seed)
    if line.model in WORD_SCORERS:
        kind = next(name for name in WORD_SCORERS if name == line.model)
        return WordScores(kind, split.catalogue, content).score_all, {"train_cpu_s": 0.0}
    cpu, wall = time.process_time(), time.perf_counter()
    features, late = split.features(content, task.seed, with_codes=line.reads == "aligned")
    model = model_class(line.model)
    dataset = _with_features(line, split.train, features, options)
    trained = model(model.config_class(**line.config)).train(dataset, options)
    costs = {
        "train_cpu_s": round(time.process_time() - cpu, 3),
        "train_wall_s": round(time.perf_counter() - wall, 3),
    }
    return trained.with_late(late).score_all, costs


def _with_features(
    line: BenchModel, dataset: Dataset, features: ItemFeatures, options: TrainOptions
) -> Dataset:
    if line.reads == "events":
        return dataset
    dataset = dataset.with_features(features)
    if line.reads == "content":
        return dataset
    pairs = cooccurring_pairs(dataset.events)
    return dataset.with_alignment(align(features.content, pairs, options=options))


def _measure_exposure(lists: Any, split: BenchSplit) -> dict[str, float | None]:
    """What the first ten items of all lists (T, 10) are.

    ``coverage_cold@10``: share of positions with a cold item; ``tail_share@10``: share with an item
    outside the 20 % of the training items with most events; ``gini@10``: over all items.
    """
    counts = np.zeros(len(split.numbers))
    counts[: split.train.num_items] = split.train.item_counts()
    groups = np.arange(len(lists))
    shown, _ = shown_items(lists, groups, TOP)
    if not len(shown):
        return {"coverage_cold@10": None, "tail_share@10": None, "gini@10": None}
    return {
        "coverage_cold@10": float(split.is_cold[shown].mean()),
        "tail_share@10": float((counts[shown] <= tail_border(split.train.item_counts())).mean()),
        "gini@10": gini(lists, groups, len(counts), TOP)[0],
    }
