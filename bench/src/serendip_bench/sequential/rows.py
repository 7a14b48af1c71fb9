"""One row of a benchmark, computed in a process of its own: train, save, score, evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data import FloatArray, ItemFeatures
from serendip.data.dataset import cooccurring_pairs
from serendip.errors import DataError, UnsupportedError
from serendip.models import model_class
from serendip.models.base import Recommender
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, peak_memory_mb
from serendip_bench.costs import TrainingCost, add_part_costs, write_costs
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.exposure import TOP, measure_exposure
from serendip_bench.ranking_values import LABELS, FullRanking, estimates_of_ranks, rank_all
from serendip_bench.sequential.models import SEMANTIC_IDS, BenchModel
from serendip_bench.splits import BenchSplit, RequestSet, build_cold_split, build_sequential_split

Kind = Literal["sequential", "cold"]

MODEL_FOLDER = "model"
RANKS_FILE, COLD_FILE, DIGEST_FILE = "ranks.npy", "cold.npy", "digest"


@dataclass(frozen=True, slots=True)
class ExperimentTask:
    """Input of a row.

    Args:
        kind: which benchmark.
        name: of the row.
        line: its line in the table.
        seed: of training, and in the cold benchmark of the held-out items.
        data: folder of the data.
        content: npy file of content vectors; it exists if any model reads them.
        folder: output of the row: the model, ranks.
        digest: of everything that determines the row except the seed.
        parts: name -> folder of the rows that it combines.
    """

    kind: Kind
    name: str
    line: BenchModel
    seed: int
    data: str
    content: str
    folder: str
    digest: str
    parts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} (seed {self.seed})"

    @property
    def key(self) -> dict[str, str | int]:
        """Fields that identify the row in the results."""
        if self.kind == "cold":
            return {"model": _name_cold_model(self), "mode": self.name, "seed": self.seed}
        return {"model": self.name, "seed": self.seed}


def _name_cold_model(task: ExperimentTask) -> str:
    return "retriever" if task.line.model == "retriever" else task.name


def compute_row(task: ExperimentTask) -> dict[str, Any]:
    """Train, save and evaluate one model; returns the row of the results file.

    If the model cannot use the data, the row has only its key and the ``reason``.
    """
    try:
        return _compute_row(task)
    except (DataError, UnsupportedError) as error:
        return {**task.key, "reason": str(error)}


def _compute_row(task: ExperimentTask) -> dict[str, Any]:
    dataset = read_sequences(Path(task.data))
    is_cold = task.kind == "cold"
    split = build_cold_split(dataset, task.seed) if is_cold else build_sequential_split(dataset)
    folder = prepare_folder(Path(task.folder), task.digest)
    cost = TrainingCost()
    model, new_features = _train(task, split, TrainOptions(task.seed))
    costs = add_part_costs(cost.seconds(), task.parts)
    write_costs(folder, costs)
    model.save(folder / MODEL_FOLDER)
    model = model.with_late(new_features)
    clock = StageClock()
    with clock.stage("score"):
        test = _rank(model, split.test, TOP if is_cold else 0)
    peak = peak_memory_mb()
    np.save(folder / RANKS_FILE, test.ranks, allow_pickle=False)
    score = clock.stages[0]
    return {
        **task.key,
        **(_to_cold_values(split, test, folder) if is_cold else _to_values(test)),
        **_evaluate_validation(model, split),
        **costs,
        "score_cpu_s": score.cpu_s,
        "score_wall_s": score.wall_s,
        "peak_mb": round(peak, 1),
        "random": task.line.random,
    }


def get_row_folder(work: Path, name: str, seed: int) -> Path:
    """Folder of the model and the ranks of a row."""
    return work / f"{name}-{seed}"


def is_finished(folder: Path, digest: str) -> bool:
    """True if the folder has the output of a finished row with this digest."""
    digest_file = folder / DIGEST_FILE
    is_same = digest_file.exists() and digest_file.read_text(encoding="utf-8") == digest
    return is_same and (folder / RANKS_FILE).exists()


def prepare_folder(folder: Path, digest: str) -> Path:
    """Create the folder of a row; output with another digest is deleted."""
    digest_file = folder / DIGEST_FILE
    if folder.exists() and not (
        digest_file.exists() and digest_file.read_text(encoding="utf-8") == digest
    ):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    digest_file.write_text(digest, encoding="utf-8")
    return folder


def _train(
    task: ExperimentTask, split: BenchSplit, options: TrainOptions
) -> tuple[Recommender, ItemFeatures]:
    """Train a model; returns it with the features of the items outside training."""
    train_features, new_features = _load_features(task, split)
    dataset = (
        split.train if task.line.reads == "events" else split.train.with_features(train_features)
    )
    if task.line.reads.startswith("aligned"):
        pairs = cooccurring_pairs(dataset.events)
        alignment_options = TrainOptions(options.seed)
        dataset = dataset.with_alignment(
            align(train_features.content, pairs, options=alignment_options)
        )
    return _build_model(task).train(dataset, options), new_features


def _build_model(task: ExperimentTask) -> Recommender:
    kind = model_class(task.line.model)
    return kind(kind.config_class(**task.line.config))


def _load_features(task: ExperimentTask, split: BenchSplit) -> tuple[ItemFeatures, ItemFeatures]:
    content: FloatArray = np.zeros((len(split.numbers), 0), np.float32)  # (N, C)
    if task.line.reads != "events":
        content = np.load(task.content, allow_pickle=False)
    codes = SEMANTIC_IDS if task.line.reads.endswith("codes") else None
    return split.features(content, codes, task.seed)


def _rank(model: Recommender, requests: RequestSet, k: int = 0) -> FullRanking:
    return rank_all(
        lambda rows: model.score_all(requests.queries[rows]),
        requests.items,
        [query.exclude for query in requests.queries],
        k,
    )


def _evaluate_validation(model: Recommender, split: BenchSplit) -> dict[str, Any]:
    estimates = estimates_of_ranks(_rank(model, split.validation).ranks)
    return {
        "valid_R@10": estimates["R@10"].value,
        "valid_N@10": estimates["N@10"].value,
        "valid_users": estimates["R@10"].n,
    }


def _to_values(test: FullRanking, prefix: str = "") -> dict[str, Any]:
    estimates = estimates_of_ranks(test.ranks)
    return {
        **{f"{prefix}{label}": estimates[label].value for label in LABELS},
        "ci95": {
            f"{prefix}{label}": [estimate.low, estimate.high]
            for label, estimate in estimates.items()
        },
        f"{prefix}users" if not prefix else f"users_{prefix[:-1]}": len(test.ranks),
    }


def _to_cold_values(split: BenchSplit, test: FullRanking, folder: Path) -> dict[str, Any]:
    """Metrics of users with a cold target and of all others, and exposure."""
    is_cold = split.cold[split.test.items]  # (T,)
    np.save(folder / COLD_FILE, is_cold, allow_pickle=False)
    cold = _to_values(FullRanking(test.ranks[is_cold], test.lists[is_cold]), "cold_")
    warm = _to_values(FullRanking(test.ranks[~is_cold], test.lists[~is_cold]), "warm_")
    values = {**cold, **warm, "ci95": {**cold["ci95"], **warm["ci95"]}}
    histories = [query.history.item_nums for query in split.test.queries]
    return {**values, **measure_exposure(test.lists, histories, split)}
