"""One row of a benchmark, made in a process of its own: train, save, score, measure."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data.arrays import FloatArray
from serendip.data.dataset import cooccurring_pairs
from serendip.data.item_features import ItemFeatures
from serendip.errors import DataError, UnsupportedError
from serendip.evaluate.full_ranking import LABELS, FullRanking, estimates_of_ranks, rank_all
from serendip.models import model_class, open_model
from serendip.models.base import Recommender
from serendip.models.blend.config import BlendConfig
from serendip.models.blend.model import Blend
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, peak_memory_mb
from serendip_bench.costs import TrainingCost, add_part_costs, write_costs
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.exposure import TOP, exposure
from serendip_bench.sequential.models import SEMANTIC_IDS, BenchModel
from serendip_bench.splits import BenchSplit, RequestSet, build_cold_split, build_sequential_split

Kind = Literal["sequential", "cold"]

MODEL_FOLDER, CHECKPOINT_FOLDER = "model", "checkpoint"
RANKS_FILE, COLD_FILE, DIGEST_FILE = "ranks.npy", "cold.npy", "digest"


@dataclass(frozen=True, slots=True)
class ExperimentTask:
    """What a row is made from.

    Args:
        kind: which benchmark.
        name: of the row.
        line: its line in the table.
        seed: of training, and in the cold benchmark of the items taken out.
        data: folder of the data.
        content: npy file of content vectors; not there where no model reads them.
        folder: what the row leaves behind: the model, ranks.
        digest: of everything that decides the row but the seed.
        parts: name -> folder of the rows that it is made from.
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
        """What tells the row from others in the results."""
        if self.kind == "cold":
            return {"model": _cold_model(self), "mode": self.name, "seed": self.seed}
        return {"model": self.name, "seed": self.seed}


def _cold_model(task: ExperimentTask) -> str:
    return "retriever" if task.line.model == "retriever" else task.name


def make_row(task: ExperimentTask) -> dict[str, Any]:
    """Train, save and judge one model; the dict is what the results file holds.

    Where the model refuses the data, the dict has the row's key and the ``reason``.
    """
    try:
        return _row(task)
    except (DataError, UnsupportedError) as error:
        return {**task.key, "reason": str(error)}


def _row(task: ExperimentTask) -> dict[str, Any]:
    dataset = read_sequences(Path(task.data))
    is_cold = task.kind == "cold"
    trial = build_cold_split(dataset, task.seed) if is_cold else build_sequential_split(dataset)
    folder = prepared(Path(task.folder), task.digest)
    checkpoint = folder / CHECKPOINT_FOLDER
    spent = TrainingCost(folder, resumes=checkpoint.exists())
    model, new = _trained(task, trial, TrainOptions(task.seed, spent, checkpoint))
    costs = add_part_costs(spent.seconds(), task.parts)
    write_costs(folder, costs)
    model.save(folder / MODEL_FOLDER)
    model = model.with_items(new)
    clock = StageClock()
    with clock.stage("score"):
        test = _ranked(model, trial.test, TOP if is_cold else 0)
    peak = peak_memory_mb()
    np.save(folder / RANKS_FILE, test.ranks, allow_pickle=False)
    score = clock.stages[0]
    return {
        **task.key,
        **(_cold_values(trial, test, folder) if is_cold else _values(test)),
        **_validated(model, trial),
        **costs,
        "score_cpu_s": score.cpu_s,
        "score_wall_s": score.wall_s,
        "peak_mb": round(peak, 1),
        "random": task.line.random,
    }


def row_folder(work: Path, name: str, seed: int) -> Path:
    """Where a row leaves its model and its ranks."""
    return work / f"{name}-{seed}"


def is_left(folder: Path, digest: str) -> bool:
    """Whether a finished row of this digest has left its model and its ranks here."""
    mark = folder / DIGEST_FILE
    is_same = mark.exists() and mark.read_text(encoding="utf-8") == digest
    return is_same and (folder / RANKS_FILE).exists()


def prepared(folder: Path, digest: str) -> Path:
    """The row's folder; what rows of another digest left in it is gone."""
    mark = folder / DIGEST_FILE
    if folder.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == digest):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest, encoding="utf-8")
    return folder


def _trained(
    task: ExperimentTask, trial: BenchSplit, options: TrainOptions
) -> tuple[Recommender, ItemFeatures]:
    """A model of the training part, and the features of all other items."""
    known, new = _features(task, trial)
    dataset = trial.train if task.line.reads == "events" else trial.train.with_features(known)
    if task.line.reads.startswith("aligned"):
        pairs = cooccurring_pairs(dataset.events)
        seeded = TrainOptions(options.seed)
        dataset = dataset.with_alignment(align(known.content, pairs, options=seeded))
    return _untrained(task).train(dataset, options), new


def _untrained(task: ExperimentTask) -> Recommender:
    """The model of a line; a blend has those of its parts that rows have trained."""
    kind = model_class(task.line.model)
    config = kind.config_class(**task.line.config)
    if not isinstance(config, BlendConfig):
        return kind(config)
    trained = {
        name: open_model(config.parts[name].model, Path(folder) / MODEL_FOLDER)
        for name, folder in task.parts.items()
    }
    return Blend(config, trained)


def _features(task: ExperimentTask, trial: BenchSplit) -> tuple[ItemFeatures, ItemFeatures]:
    content: FloatArray = np.zeros((len(trial.numbers), 0), np.float32)
    if task.line.reads != "events":
        content = np.load(task.content, allow_pickle=False)
    codes = SEMANTIC_IDS if task.line.reads.endswith("codes") else None
    return trial.features(content, codes, task.seed)


def _ranked(model: Recommender, asked: RequestSet, k: int = 0) -> FullRanking:
    return rank_all(
        lambda rows: model.score_all(asked.queries[rows]),
        asked.items,
        [query.exclude for query in asked.queries],
        k,
    )


def _validated(model: Recommender, trial: BenchSplit) -> dict[str, Any]:
    """The same of the validation targets; none of a blend, which has learned from them."""
    if isinstance(model, Blend):
        return {}
    found = estimates_of_ranks(_ranked(model, trial.validation).ranks)
    return {
        "valid_R@10": found["R@10"].value,
        "valid_N@10": found["N@10"].value,
        "valid_users": found["R@10"].n,
    }


def _values(test: FullRanking, prefix: str = "") -> dict[str, Any]:
    found = estimates_of_ranks(test.ranks)
    return {
        **{f"{prefix}{label}": found[label].value for label in LABELS},
        "ci95": {f"{prefix}{label}": [one.low, one.high] for label, one in found.items()},
        f"{prefix}users" if not prefix else f"users_{prefix[:-1]}": len(test.ranks),
    }


def _cold_values(trial: BenchSplit, test: FullRanking, folder: Path) -> dict[str, Any]:
    """Users whose target is cold beside all others, and who shares the lists."""
    is_cold = trial.cold[trial.test.items]
    np.save(folder / COLD_FILE, is_cold, allow_pickle=False)
    cold = _values(FullRanking(test.ranks[is_cold], test.lists[is_cold]), "cold_")
    warm = _values(FullRanking(test.ranks[~is_cold], test.lists[~is_cold]), "warm_")
    both = {**cold, **warm, "ci95": {**cold["ci95"], **warm["ci95"]}}
    histories = [query.history.item_nums for query in trial.test.queries]
    return {**both, **exposure(test.lists, histories, trial)}
