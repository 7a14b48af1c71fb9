"""What the quality vector does on people's next choices: better items, and what they cost.

    python src/serendip_bench/scripts/quality_vector.py WORKSPACE [--seeds 3] [--most-loss 0.01]

Works on the imported data of a workspace (``make demo`` makes one). The retriever learns from the
first 80 % of the events; the weights are searched on the newest of these; judged are the targets of
the rest, all items ranked, with the weights and without. ``quality`` is the mean over the first ten
of the mean of the four columns of ``data.item_quality``; intervals are of a bootstrap over users.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.content.features import build_features
from serendip.data.arrays import FloatArray
from serendip.data.dataset import (
    Dataset,
    cooccurring_pairs,
)
from serendip.data.item_quality import QUALITIES, item_quality
from serendip.data.query import Query
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, temporal
from serendip.engine.workspace import Workspace
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.full_ranking import rank_all
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.runs import Values
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions

TRAINED, ALIGNED = 0.8, 0.9


def run(workspace: Workspace, seeds: int, most_loss: float) -> dict[str, Any]:
    """Both figures with and without the weights, means over the seeds, paired by user."""
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, workspace.settings.actions)
    split = temporal(dataset, TRAINED)
    worth = item_quality(split.train)
    weights, values = [], []
    for seed in range(seeds):
        model = Retriever(RetrieverConfig(epochs=8, quality_loss=most_loss))
        model.train(_prepared(workspace, split.train, seed), TrainOptions(seed))
        assert model.quality is not None
        weights.append(model.quality.weights.tolist())
        values.append(_judged(model, split, worth))
    mean = np.mean(values, axis=0)
    found = {
        name: asdict(compare_values(("with", "without", name), mean[0, :, at], mean[1, :, at]))
        | {"with": float(mean[0, :, at].mean()), "without": float(mean[1, :, at].mean())}
        for at, name in enumerate(("N@10", "quality", *QUALITIES))
    }
    return {"seeds": seeds, "most_loss": most_loss, "weights": weights, **found}


def _prepared(workspace: Workspace, train: Dataset, seed: int) -> Dataset:
    """Content, codes, alignment and quality, all from the training part."""
    settings, options = workspace.settings, TrainOptions(seed)
    features, _, _ = build_features(
        train.catalogue,
        open_encoder(settings.content),
        VectorCache(workspace.cache),
        settings.content,
        settings.semantic_ids,
        options,
    )
    log = train.events
    older = log.rows(np.arange(len(log)) < ALIGNED * len(log))
    alignment = align(features.content, cooccurring_pairs(older), options=options)
    quality = item_quality(train)
    return train.with_features(features).with_alignment(alignment).with_quality(quality)


def _judged(model: Retriever, split: Split, worth: FloatArray) -> Values:
    """(2, U, 6): with and without the weights, per user N@10, quality and its columns."""
    targets = split.targets
    known = targets.items < len(worth)  # An item that came after the cut has no vector here.
    queries = [query for query, keep in zip(targets.queries(), known, strict=True) if keep]
    users = [user for user, keep in zip(targets.users, known, strict=True) if keep]
    groups = np.unique(users, return_inverse=True)[1]
    assert model.quality is not None
    added = model.quality.added

    def ranked(scores: Callable[[Sequence[Query]], FloatArray]) -> Values:
        excluded = [query.exclude[query.exclude < len(worth)] for query in queries]
        items = targets.items[known]
        found = rank_all(lambda rows: scores(queries[rows]), items, excluded, 10)
        columns = worth[found.lists].mean(1)
        gains = NDCG(10).of_ranks(found.ranks)
        return per_user(np.column_stack([gains, columns.mean(1), columns]), groups)

    return np.stack([ranked(model.score_all), ranked(lambda some: model.score_all(some) - added)])


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most-loss", type=float, default=0.01)
    asked = parser.parse_args()
    found = run(Workspace.open(asked.workspace), asked.seeds, asked.most_loss)
    print(json.dumps({"benchmark": "quality_vector", **found}))


if __name__ == "__main__":
    main()
