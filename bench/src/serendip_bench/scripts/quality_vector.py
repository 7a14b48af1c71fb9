"""Effect of the quality vector: quality of recommended items, and loss of accuracy.

    python -m serendip_bench.scripts.quality_vector WORKSPACE [--seeds 3] [--most-loss 0.01]

Works on the imported data of a workspace (``make demo`` creates one). The retriever is trained on
the first 80 % of the events, with the weights tuned on the newest of these. The test targets are
the remaining events; all items are ranked, with the weights and without. ``quality`` is the mean of
the four columns of ``data.item_quality`` over the top ten; intervals are bootstrapped over users.

Shapes: U users, N items.
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
from serendip.data import Dataset, FloatArray, Query
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.quality import QUALITIES, item_quality
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, temporal
from serendip.engine.workspace import Workspace
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics import NDCG
from serendip.evaluate.runs import Values
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip_bench.ranking_values import rank_all

TRAINING_SHARE, ALIGNMENT_SHARE = 0.8, 0.9


def run(workspace: Workspace, seeds: int, most_loss: float) -> dict[str, Any]:
    """Accuracy and quality with and without the weights, means over seeds, paired by user."""
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, workspace.settings.actions)
    split = temporal(dataset, TRAINING_SHARE)
    qualities = item_quality(split.train)  # (N, 4)
    weights, values = [], []
    for seed in range(seeds):
        model = Retriever(RetrieverConfig(epochs=8, quality_loss=most_loss))
        model.train(_prepare(workspace, split.train, seed), TrainOptions(seed))
        assert model.quality is not None
        weights.append(model.quality.weights.tolist())
        values.append(_evaluate(model, split, qualities))
    mean = np.mean(values, axis=0)
    metrics = {
        name: asdict(
            compare_values(("with", "without", name), mean[0, :, column], mean[1, :, column])
        )
        | {"with": float(mean[0, :, column].mean()), "without": float(mean[1, :, column].mean())}
        for column, name in enumerate(("N@10", "quality", *QUALITIES))
    }
    return {"seeds": seeds, "most_loss": most_loss, "weights": weights, **metrics}


def _prepare(workspace: Workspace, train: Dataset, seed: int) -> Dataset:
    """Training data with content, codes, alignment and quality."""
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
    alignment_events = log.rows(np.arange(len(log)) < ALIGNMENT_SHARE * len(log))
    alignment = align(features.content, cooccurring_pairs(alignment_events), options=options)
    quality = item_quality(train)
    return train.with_features(features).with_alignment(alignment).with_quality(quality)


def _evaluate(model: Retriever, split: Split, qualities: FloatArray) -> Values:
    """(2, U, 6) with and without the weights: N@10, quality and its columns per user."""
    targets = split.targets
    is_known = targets.items < len(qualities)  # Items posted after the cut have no vector.
    queries = [query for query, keep in zip(targets.queries(), is_known, strict=True) if keep]
    users = [user for user, keep in zip(targets.users, is_known, strict=True) if keep]
    groups = np.unique(users, return_inverse=True)[1]  # (T,)
    assert model.quality is not None
    added = model.quality.added

    def rank(score: Callable[[Sequence[Query]], FloatArray]) -> Values:
        excluded = [query.exclude[query.exclude < len(qualities)] for query in queries]
        items = targets.items[is_known]
        ranking = rank_all(lambda rows: score(queries[rows]), items, excluded, 10)
        columns = qualities[ranking.lists].mean(1)  # (T, 4)
        gains = NDCG(10).of_ranks(ranking.ranks)
        return per_user(np.column_stack([gains, columns.mean(1), columns]), groups)

    return np.stack([rank(model.score_all), rank(lambda batch: model.score_all(batch) - added)])


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most-loss", type=float, default=0.01)
    options = parser.parse_args()
    metrics = run(Workspace.open(options.workspace), options.seeds, options.most_loss)
    print(json.dumps({"benchmark": "quality_vector", **metrics}))


if __name__ == "__main__":
    main()
