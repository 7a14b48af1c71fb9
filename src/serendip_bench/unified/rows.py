"""The rows of one model of the unified benchmark: train once, answer every task, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, cooccurring_pairs
from serendip.data.item import Catalogue
from serendip.data.item_features import TokenReader, Tokens
from serendip.data.query import Query
from serendip.evaluate.full_ranking import FullRanking, rank_all
from serendip.evaluate.intervals import estimates
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.metrics.recall import Recall
from serendip.evaluate.runs import Values
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, peak_memory_mb
from serendip_bench.costs import TrainingCost, read_costs, write_costs
from serendip_bench.datasets.registry import dataset_of
from serendip_bench.qrels import Relevance
from serendip_bench.sequential.models import SEMANTIC_IDS
from serendip_bench.sequential.rows import (
    CHECKPOINT_FOLDER,
    MODEL_FOLDER,
    prepare_folder,
    row_folder,
)
from serendip_bench.splits import RequestSet
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.tasks import UnifiedSplit, without_country, without_user
from serendip_bench.unified.word_scores import WordScores

UNIFIED_LABELS = ("R@10", "N@10", "R@100")
_METRICS = (Recall(10), NDCG(10), Recall(100))


@dataclass(frozen=True, slots=True)
class UnifiedTask:
    """What the rows of a line are made from.

    Args:
        name, line: of the table.
        seed: of training and codebooks.
        data: folder of the data.
        content: npy file of the items' vectors.
        words: npy file of the vectors of their queries.
        folder: what the rows leave behind: the model, ranks.
        digest: of everything that decides the rows but the seed.
        asked: folder of the line whose model is asked; empty = one is trained.
        sets: names of the sets of a task's requests, where it has more than one or they are named.
    """

    name: str
    line: UnifiedModel
    seed: int
    data: str
    content: str
    words: str
    folder: str
    digest: str
    asked: str = ""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} (seed {self.seed})"

    @property
    def keys(self) -> list[dict[str, str | int]]:
        """What tells its rows from others in the results."""
        lines = {self.line.model: self.name, **{name: name for name in self.line.beside}}
        keys: list[dict[str, str | int]] = [
            {"task": task, "model": model, "seed": self.seed, "line": line}
            for task in self.line.answers
            for model, line in lines.items()
        ]
        return [
            {**key, "set": one} if one else key
            for key in keys
            for one in self.sets.get(str(key["task"]), ("",))
        ]


def make_unified(task: UnifiedTask) -> list[dict[str, Any]]:
    """Train or open a model, answer the tasks of its line; one row per task."""
    data = Path(task.data)
    trial = dataset_of(data).trial(data, np.load(task.words, allow_pickle=False))
    content = np.load(task.content, allow_pickle=False)
    folder = prepare_folder(Path(task.folder), task.digest)
    score, costs = _answering(task, trial, content, folder)
    rows = [_row(task, question(key), score, trial, folder) for key in task.keys]
    return [{**key, **row, **costs} for key, row in zip(task.keys, rows, strict=True)]


def _row(
    task: UnifiedTask,
    name: str,
    score: Callable[[Sequence[Query]], FloatArray],
    trial: UnifiedSplit,
    folder: Path,
) -> dict[str, Any]:
    clock = StageClock()
    with clock.stage("score"):
        ranks = _ranks(score, shown(trial.tests[name], task.line))
    asked = shown(trial.validation[name], task.line)
    valid = values_of(_ranks(score, asked), asked.relevance)
    np.save(folder / ranks_file(name), ranks, allow_pickle=False)
    relevance = trial.tests[name].relevance
    if relevance is not None:
        relevance.save(folder / relevance_file(name))
    return {
        **figures(values_of(ranks, relevance), valid),
        **judged_share(ranks, relevance),
        **(_changed(score, trial.tests[name]) if task.line.hides_country else {}),
        "score_cpu_s": clock.stages[0].cpu_s,
        "peak_mb": round(peak_memory_mb(), 1),
    }


def figures(values: Values, valid: Values) -> dict[str, Any]:
    """What a row says of the values (U, 3) of test and of validation, if there are any of that."""
    found = dict(zip(UNIFIED_LABELS, estimates(values), strict=True))
    return {
        **{label: one.value for label, one in found.items()},
        "ci95": {label: [one.low, one.high] for label, one in found.items()},
        "users": len(values),
        "valid_N@10": float(valid[:, UNIFIED_LABELS.index("N@10")].mean()) if len(valid) else None,
    }


def shown(asked: RequestSet, line: UnifiedModel) -> RequestSet:
    """What a line is shown of requests."""
    asked = without_user(asked) if line.hides_user else asked
    return without_country(asked) if line.hides_country else asked


def _ranks(score: Callable[[Sequence[Query]], FloatArray], asked: RequestSet) -> Values:
    return _ranking(score, asked).ranks


def _ranking(
    score: Callable[[Sequence[Query]], FloatArray], asked: RequestSet, k: int = 0
) -> FullRanking:
    excluded = [query.exclude for query in asked.queries]
    return rank_all(lambda rows: score(asked.queries[rows]), asked.items, excluded, k)


def _changed(score: Callable[[Sequence[Query]], FloatArray], asked: RequestSet) -> dict[str, int]:
    """How many of the first ten are others, or in another order, where the country is named."""
    named, hidden = (_ranking(score, one, 10).lists for one in (asked, without_country(asked)))
    return {"changed@10": int((named != hidden).any(1).sum()), "requests": len(named)}


def question(key: Mapping[str, Any]) -> str:
    """The name of a row's requests: its task, and the set of it where it has one."""
    return f"{key['task']}-{key['set']}" if "set" in key else str(key["task"])


def task_of(name: str) -> str:
    """The task of a question."""
    return name.split("-")[0]


def ranks_file(name: str) -> str:
    """Where the ranks (T,) of a question lie, in the folder of the line."""
    return f"ranks-{name}.npy"


def ranks_path(work: Path, row: Mapping[str, Any]) -> Path:
    """Where the ranks of a row of the results lie."""
    return row_folder(work, str(row["line"]), int(row["seed"])) / ranks_file(question(row))


def relevance_file(name: str) -> str:
    """Where it lies what these ranks have to do with one another; none where each stands alone."""
    return f"relevance-{name}.npz"


def left_values(folder: Path, name: str) -> Values:
    """Values (U, 3) of a question, of what its row has left in the folder of the line."""
    ranks = np.load(folder / ranks_file(name), allow_pickle=False)
    return values_of(ranks, Relevance.open(folder / relevance_file(name)))


def values_of(ranks: Values, relevance: Relevance | None = None) -> Values:
    """(U, 3): R@10, N@10 and R@100 of each user; of each row where all are users of their own."""
    if relevance is None:
        return np.stack([metric.of_ranks(ranks) for metric in _METRICS], axis=1)
    own = relevance.recall(ranks, 10), relevance.ndcg(ranks, 10), relevance.recall(ranks, 100)
    return np.stack(own, axis=1)


def judged_share(ranks: Values, relevance: Relevance | None) -> dict[str, float]:
    """Share of the first ten that somebody has judged, where some are judged as not relevant."""
    if relevance is None or (relevance.gains > 0).all():
        return {}
    return {"judged@10": float(relevance.judged(ranks, 10).mean())}


def _answering(
    task: UnifiedTask, trial: UnifiedSplit, content: FloatArray, folder: Path
) -> tuple[Callable[[Sequence[Query]], FloatArray], dict[str, Any]]:
    """Scores (B, N) of requests, and what it cost to be able to give them."""
    assert task.line.asks != "engine"
    if task.line.asks != "retriever":
        vectors = content[trial.sequences.numbers]
        words = WordScores(task.line.asks, catalogue_of(task, trial), vectors)
        return words.score_all, {"cpu_s": 0.0, "params": 0}
    checkpoint = folder / CHECKPOINT_FOLDER
    spent = TrainingCost(folder, resumes=checkpoint.exists())
    codes = SEMANTIC_IDS if task.line.reads_codes else None
    known, new = trial.sequences.features(content, codes, task.seed, _tokens(task))
    if task.asked:
        model = Retriever.open(Path(task.asked) / MODEL_FOLDER)
        cpu, _ = read_costs(Path(task.asked))
    else:
        dataset = trial.sequences.train.with_features(known)
        if not task.line.reads_country:
            dataset = dataset.with_countries(None)
        model = _trained(task.line, dataset, TrainOptions(task.seed, spent, checkpoint))
        cpu, wall = spent.seconds()
        write_costs(folder, {"train_cpu_s": cpu, "train_wall_s": wall})
        model.save(folder / MODEL_FOLDER)
    params = model.num_parameters
    return model.with_items(new).score_all, {"cpu_s": cpu, "params": params}


def _trained(line: UnifiedModel, dataset: Dataset, options: TrainOptions) -> Retriever:
    assert dataset.features is not None
    pairs = cooccurring_pairs(dataset.events)
    alignment = align(dataset.features.content, pairs, options=TrainOptions(options.seed))
    config = RetrieverConfig(**line.config)
    return Retriever(config).train(dataset.with_alignment(alignment), options)


def _tokens(task: UnifiedTask) -> Tokens | None:
    """Tokens of the items in the order of their file, where the model of the line reads them."""
    if not RetrieverConfig(**task.line.config).token_buckets:
        return None
    data = Path(task.data)
    form = dataset_of(data)
    return TokenReader(form.fields).read(form.read(data).catalogue.items)


def catalogue_of(task: UnifiedTask, trial: UnifiedSplit) -> Catalogue:
    """All items under the numbers of the trial."""
    data = Path(task.data)
    items = dataset_of(data).read(data).catalogue
    return Catalogue(items[int(place)] for place in trial.sequences.numbers)
