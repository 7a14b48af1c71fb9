"""The rows of one model of the unified benchmark: train once, evaluate every task.

Shapes: B requests, T rows of requests, N items, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data import Catalogue, Dataset, FloatArray, Query
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.features import TokenReader, Tokens
from serendip.evaluate.intervals import estimates
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import Values
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, peak_memory_mb
from serendip_bench.costs import TrainingCost, read_costs, write_costs
from serendip_bench.datasets.registry import detect_dataset
from serendip_bench.qrels import Relevance
from serendip_bench.ranking_values import FullRanking, rank_all
from serendip_bench.sequential.models import SEMANTIC_IDS
from serendip_bench.sequential.rows import (
    MODEL_FOLDER,
    get_row_folder,
    prepare_folder,
)
from serendip_bench.splits import RequestSet
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.tasks import UnifiedSplit, without_country, without_user
from serendip_bench.unified.word_scores import WordScores

UNIFIED_LABELS = ("R@10", "N@10", "R@100")
_METRICS = (Recall(10), NDCG(10), Recall(100))


@dataclass(frozen=True, slots=True)
class UnifiedTask:
    """Input of the rows of a line.

    Args:
        name, line: of the table.
        seed: of training and codebooks.
        data: folder of the data.
        content: npy file of the item vectors.
        words: npy file of the query vectors.
        folder: output of the rows: the model, ranks.
        digest: of everything that determines the rows except the seed.
        model_folder: folder of the line whose model is used; empty = train one.
        sets: task -> names of its request sets, if they have names.
    """

    name: str
    line: UnifiedModel
    seed: int
    data: str
    content: str
    words: str
    folder: str
    digest: str
    model_folder: str = ""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} (seed {self.seed})"

    @property
    def keys(self) -> list[dict[str, str | int]]:
        """Fields that identify each row in the results."""
        lines = {self.line.model: self.name, **{name: name for name in self.line.beside}}
        keys: list[dict[str, str | int]] = [
            {"task": task, "model": model, "seed": self.seed, "line": line}
            for task in self.line.tasks
            for model, line in lines.items()
        ]
        return [
            {**key, "set": name_of_set} if name_of_set else key
            for key in keys
            for name_of_set in self.sets.get(str(key["task"]), ("",))
        ]


def compute_model_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """Train or open a model and evaluate the tasks of its line; one row per task."""
    data = Path(task.data)
    split = detect_dataset(data).build_split(data, np.load(task.words, allow_pickle=False))
    content = np.load(task.content, allow_pickle=False)
    folder = prepare_folder(Path(task.folder), task.digest)
    score, costs = _build_scorer(task, split, content, folder)
    rows = [_compute_row(task, name_request_set(key), score, split, folder) for key in task.keys]
    return [{**key, **row, **costs} for key, row in zip(task.keys, rows, strict=True)]


def _compute_row(
    task: UnifiedTask,
    name: str,
    score: Callable[[Sequence[Query]], FloatArray],
    split: UnifiedSplit,
    folder: Path,
) -> dict[str, Any]:
    clock = StageClock()
    with clock.stage("score"):
        ranks = _rank_targets(score, hide_context(split.tests[name], task.line))
    validation = hide_context(split.validation[name], task.line)
    valid = compute_values(_rank_targets(score, validation), validation.relevance)
    np.save(folder / get_ranks_file(name), ranks, allow_pickle=False)
    relevance = split.tests[name].relevance
    if relevance is not None:
        relevance.save(folder / get_relevance_file(name))
    return {
        **summarise_values(compute_values(ranks, relevance), valid),
        **compute_judged_share(ranks, relevance),
        **(_count_changed(score, split.tests[name]) if task.line.hides_country else {}),
        "score_cpu_s": clock.stages[0].cpu_s,
        "peak_mb": round(peak_memory_mb(), 1),
    }


def summarise_values(values: Values, valid: Values) -> dict[str, Any]:
    """Fields of a row from values (U, 3) of the test requests and, if any, of validation."""
    estimate_of = dict(zip(UNIFIED_LABELS, estimates(values), strict=True))
    return {
        **{label: estimate.value for label, estimate in estimate_of.items()},
        "ci95": {label: [estimate.low, estimate.high] for label, estimate in estimate_of.items()},
        "users": len(values),
        "valid_N@10": float(valid[:, UNIFIED_LABELS.index("N@10")].mean()) if len(valid) else None,
    }


def hide_context(requests: RequestSet, line: UnifiedModel) -> RequestSet:
    """Requests without the user or the country, if the line hides them."""
    requests = without_user(requests) if line.hides_user else requests
    return without_country(requests) if line.hides_country else requests


def _rank_targets(score: Callable[[Sequence[Query]], FloatArray], requests: RequestSet) -> Values:
    return _rank(score, requests).ranks


def _rank(
    score: Callable[[Sequence[Query]], FloatArray], requests: RequestSet, k: int = 0
) -> FullRanking:
    excluded = [query.exclude for query in requests.queries]
    return rank_all(lambda rows: score(requests.queries[rows]), requests.items, excluded, k)


def _count_changed(
    score: Callable[[Sequence[Query]], FloatArray], requests: RequestSet
) -> dict[str, int]:
    """Number of requests whose top ten changes if the country is given."""
    with_country, hidden_lists = (
        _rank(score, request_set, 10).lists for request_set in (requests, without_country(requests))
    )
    return {
        "changed@10": int((with_country != hidden_lists).any(1).sum()),
        "requests": len(with_country),
    }


def name_request_set(key: Mapping[str, Any]) -> str:
    """Name of the request set of a row: its task and, if there is one, its set."""
    return f"{key['task']}-{key['set']}" if "set" in key else str(key["task"])


def parse_task(name: str) -> str:
    """The task of a request set."""
    return name.split("-")[0]


def get_ranks_file(name: str) -> str:
    """Name of the file of the ranks (T,) of a request set, in the folder of the line."""
    return f"ranks-{name}.npy"


def get_ranks_path(work: Path, row: Mapping[str, Any]) -> Path:
    """Path of the ranks of a row of the results."""
    return get_row_folder(work, str(row["line"]), int(row["seed"])) / get_ranks_file(
        name_request_set(row)
    )


def get_relevance_file(name: str) -> str:
    """Name of the file that groups ranks by request; absent if every rank is its own request."""
    return f"relevance-{name}.npz"


def load_values(folder: Path, name: str) -> Values:
    """Values (U, 3) of a request set, from the files of its row."""
    ranks = np.load(folder / get_ranks_file(name), allow_pickle=False)
    return compute_values(ranks, Relevance.open(folder / get_relevance_file(name)))


def compute_values(ranks: Values, relevance: Relevance | None = None) -> Values:
    """(U, 3) R@10, N@10 and R@100 per user; without ``relevance`` each row is its own user."""
    if relevance is None:
        return np.stack([metric.of_ranks(ranks) for metric in _METRICS], axis=1)
    columns = relevance.recall(ranks, 10), relevance.ndcg(ranks, 10), relevance.recall(ranks, 100)
    return np.stack(columns, axis=1)  # (U, 3)


def compute_judged_share(ranks: Values, relevance: Relevance | None) -> dict[str, float]:
    """Share of judged items in the top ten; empty if no item is judged as irrelevant."""
    if relevance is None or (relevance.gains > 0).all():
        return {}
    return {"judged@10": float(relevance.judged(ranks, 10).mean())}


def _build_scorer(
    task: UnifiedTask, split: UnifiedSplit, content: FloatArray, folder: Path
) -> tuple[Callable[[Sequence[Query]], FloatArray], dict[str, Any]]:
    """A function from requests to scores (B, N), and the cost of its training."""
    assert task.line.scorer != "engine"
    assert task.line.scorer != "rankers"
    if task.line.scorer != "retriever":
        vectors = content[split.sequences.numbers]  # (N, C)
        search = WordScores(task.line.scorer, renumber_catalogue(task, split), vectors)
        return search.score_all, {"cpu_s": 0.0, "params": 0}
    cost = TrainingCost()
    codes = SEMANTIC_IDS if task.line.reads_codes else None
    train_features, new_features = split.sequences.features(
        content, codes, task.seed, _read_tokens(task)
    )
    if task.model_folder:
        model = Retriever.open(Path(task.model_folder) / MODEL_FOLDER)
        cpu, _ = read_costs(Path(task.model_folder))
    else:
        dataset = split.sequences.train.with_features(train_features)
        if not task.line.reads_country:
            dataset = dataset.with_countries(None)
        if not task.line.reads_queries:
            dataset = replace(dataset, queries=None)
        model = _train(task.line, dataset, TrainOptions(task.seed))
        cpu, wall = cost.seconds()
        write_costs(folder, {"train_cpu_s": cpu, "train_wall_s": wall})
        model.save(folder / MODEL_FOLDER)
    params = model.num_parameters
    return model.with_late(new_features).score_all, {"cpu_s": cpu, "params": params}


def _train(line: UnifiedModel, dataset: Dataset, options: TrainOptions) -> Retriever:
    assert dataset.features is not None
    pairs = cooccurring_pairs(dataset.events)
    alignment = align(dataset.features.content, pairs, options=TrainOptions(options.seed))
    config = RetrieverConfig(**line.config)
    return Retriever(config).train(dataset.with_alignment(alignment), options)


def _read_tokens(task: UnifiedTask) -> Tokens | None:
    """Tokens of the items in the order of their file; None if the model does not read them."""
    if not RetrieverConfig(**task.line.config).token_buckets:
        return None
    data = Path(task.data)
    dataset = detect_dataset(data)
    return TokenReader(dataset.fields).read(dataset.read(data).catalogue.items)


def renumber_catalogue(task: UnifiedTask, split: UnifiedSplit) -> Catalogue:
    """All items, numbered as in the split."""
    data = Path(task.data)
    items = detect_dataset(data).read(data).catalogue
    return Catalogue(items[int(number)] for number in split.sequences.numbers)
