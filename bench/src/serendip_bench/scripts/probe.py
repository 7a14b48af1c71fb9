"""Probing: linear models on the retriever's vectors for tasks that it is not trained for.

    uv pip install -e . -e './bench[probe]'
    python -m serendip_bench.scripts.probe --cache DIR [--data DIR] [--seeds 3] [--json FILE]

``--data`` (default: ``SERENDIP_DATA``, else ../shared/data) holds ``movielens-small`` and
``online-retail``; a missing one is skipped. The retriever is trained as by ``serendip train``, on
the events before a cut; user vectors and profiles read the history before the predicted month.
Linear models predict from hand-made features, from vectors (of users also with the profile that
``serendip embed users`` writes beside them), and from both; 95 % intervals resample films, users or
customers. Then a linear model of an earlier training is applied to vectors of a later one, with and
without rotating them onto the earlier axes (orthogonal Procrustes).

Shapes: R rows, F features.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold

from serendip.data import Dataset, History, Query
from serendip.data.users.profile import PreferenceTable, measure_activity
from serendip.engine.config.settings import Settings
from serendip.engine.stages.batch import shorten_history
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.space import MODEL, require_retriever
from serendip.models.embedding_space import VectorSpace
from serendip.models.linalg import fit_procrustes
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.posters import read_films
from serendip_bench.scripts.probe_data import (
    WINDOW,
    Matrix,
    ProbeRows,
    build_genre_rows,
    build_rating_rows,
    build_return_rows,
    read_purchases,
)

FILMS, SHOP = "movielens-small", "online-retail"
FILM_CUT = 0.5
EARLIER = (0.45, 0.35, 0.2)
"""Shares of the films' log in earlier trainings, for the rotation."""

SHOP_MONTHS, SHOP_TRAINING_MONTHS = 5, 3
"""Monthly cuts before the end of the shop's log, and the number of them for training."""

FOLDS, RESAMPLES = 5, 500
ALPHAS, STRENGTHS = np.logspace(-2, 5, 15), np.logspace(-4, 1, 6)

Blocks = Mapping[str, Matrix]
"""Name -> (R, F); blocks have equal weight, whatever their number of columns."""

Predicted = NDArray[Any]


def train_state(dataset: Dataset, before: float, cache: Path, seed: int) -> EngineState:
    """Train everything except the ranker on the events before a time."""
    context, log = JobContext.of(Workspace(cache, Settings())), dataset.events
    past = replace(dataset, events=log.rows(log.timestamps < before))
    with tempfile.TemporaryDirectory() as scratch:
        return Fitter(context, Path(scratch)).fit_sources(past, "probe", TrainOptions(seed))


def read_histories(rows: ProbeRows, dataset: Dataset) -> list[History]:
    """R histories before the rows' times."""
    users_and_times = zip(rows.subjects.tolist(), rows.times.tolist(), strict=True)
    return [dataset.history(user).before(time) for user, time in users_and_times]


def read_profiles(rows: ProbeRows, dataset: Dataset) -> dict[str, Matrix]:
    """(R, width) each part of the profiles of the rows' users."""
    histories, table = read_histories(rows, dataset), PreferenceTable.of(dataset.catalogue)
    times = zip(histories, rows.times.tolist(), strict=True)
    parts = {"activity": np.log1p([measure_activity(history, time) for history, time in times])}
    if table.names:
        parts["preferences"] = np.array([table.shares(history) for history in histories])
    return {name: part.astype(np.float64) for name, part in parts.items()}


def read_vectors(rows: ProbeRows, dataset: Dataset, state: EngineState) -> dict[str, Matrix]:
    """(R, width) each part of the vectors of the rows' subjects."""
    retriever = require_retriever(state)
    if len(rows.times):
        queries = [Query(history=history) for history in read_histories(rows, dataset)]
        vectors = retriever.encode_queries([shorten_history(query, state) for query in queries])
    else:
        vectors = retriever.item_vectors[rows.subjects]
    ends = np.cumsum(list(retriever.parts.values()))
    parts = dict(zip(retriever.parts, np.split(vectors, ends[:-1], axis=1), strict=True))
    return {name: parts[name].astype(np.float64) for name in ("network", "content")}


def split_folds(rows: ProbeRows) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(training, predicted) rows of each fold."""
    if not rows.is_predicted.all():
        return [(np.flatnonzero(~rows.is_predicted), np.flatnonzero(rows.is_predicted))]
    order = np.random.default_rng(0).permutation(int(rows.units.max()) + 1)
    return list(GroupKFold(FOLDS).split(rows.labels, groups=order[rows.units]))


def fit_linear(rows: ProbeRows, training: NDArray[np.intp], features: Matrix) -> Any:
    """Fit a linear model with regularisation by cross-validation on the training rows."""
    labels = rows.labels[training]
    if rows.metric == "R2":
        return RidgeCV(ALPHAS).fit(features, labels)
    inner = list(GroupKFold(3).split(features, groups=rows.units[training]))
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=inner,
        l1_ratios=(0,),
        scoring="neg_log_loss",
        max_iter=2000,
        use_legacy_attributes=False,
    )
    return model.fit(features, labels)


def predict(rows: ProbeRows, blocks: Blocks, test_blocks: Blocks | None = None) -> Predicted:
    """(R,) out-of-fold predictions; 0 for rows that are not predicted.

    Args:
        rows: the task.
        blocks: features for training.
        test_blocks: features for prediction; None = the same.
    """
    predictions = np.zeros(len(rows.labels))
    for training, predicted in split_folds(rows):
        scales = {name: _measure_scale(block[training]) for name, block in blocks.items()}
        model = fit_linear(rows, training, _join_blocks(blocks, scales, training))
        features = _join_blocks(test_blocks or blocks, scales, predicted)
        fold_predictions = model.predict(features)
        if rows.metric == "AUROC":
            fold_predictions = model.predict_proba(features)[:, 1]
        predictions[predicted] = fold_predictions
    return predictions


def _measure_scale(block: Matrix) -> tuple[Matrix, Matrix]:
    spread = block.std(0)
    return block.mean(0), np.where(spread > 1e-9, spread, 1.0) * np.sqrt(block.shape[1])


def _join_blocks(
    blocks: Blocks, scales: Mapping[str, tuple[Matrix, Matrix]], rows: NDArray[np.intp]
) -> Matrix:
    parts = [(block[rows] - scales[name][0]) / scales[name][1] for name, block in blocks.items()]
    return np.concatenate(parts, axis=1)


def score(rows: ProbeRows, predicted: Predicted, weights: Matrix) -> float:
    """The metric over rows with weights (R,)."""
    metric = {"R2": r2_score, "accuracy": accuracy_score, "AUROC": roc_auc_score}[rows.metric]
    return float(metric(rows.labels, predicted, sample_weight=weights))


def evaluate(rows: ProbeRows, by_seed: Mapping[str, Sequence[Predicted]]) -> dict[str, Any]:
    """Means over seeds with intervals, and paired differences to the first feature set."""

    def compute_means(weights: Matrix) -> dict[str, float]:
        return {
            name: float(np.mean([score(rows, prediction, weights) for prediction in predictions]))
            for name, predictions in by_seed.items()
        }

    weights, random = rows.is_predicted.astype(np.float64), np.random.default_rng(0)
    unit_nums = np.unique(rows.units, return_inverse=True)[1]
    units = np.unique(unit_nums[rows.is_predicted])
    value, draws = compute_means(weights), []
    for _ in range(RESAMPLES):
        unit_weights = np.bincount(random.choice(units, len(units)), minlength=unit_nums.max() + 1)
        draws.append(compute_means(weights * unit_weights[unit_nums]))
    base, table = next(iter(by_seed)), {}
    for name in by_seed:
        resampled = np.array([draw[name] for draw in draws])
        differences = resampled - np.array([draw[base] for draw in draws])
        table[name] = {
            "value": value[name],
            "ci95": np.quantile(resampled, (0.025, 0.975)).tolist(),
            "difference": value[name] - value[base],
            "difference_ci95": np.quantile(differences, (0.025, 0.975)).tolist(),
        }
    return {
        "task": rows.name,
        "metric": rows.metric,
        "rows": int(weights.sum()),
        "units": len(units),
        "features": table,
    }


def probe(rows: ProbeRows, dataset: Dataset, states: Sequence[EngineState]) -> dict[str, Any]:
    """Evaluate one task with every feature set."""
    plain, *others = rows.hand_made
    sets: dict[str, list[Blocks]] = {
        name: [{name: rows.hand_made[name]}] for name in (plain, *others)
    }
    vectors = [read_vectors(rows, dataset, state) for state in states]
    sets["vectors"] = list(vectors)
    sets["vectors, network only"] = [{"network": blocks["network"]} for blocks in vectors]
    everything: list[Blocks] = list(vectors)
    if len(rows.times):
        profile = read_profiles(rows, dataset)
        everything = [{**blocks, **profile} for blocks in vectors]
        sets["profile"] = [profile]
        sets["vectors + profile"] = list(everything)
    for name in (plain, *others):
        sets[f"{name} + all of these"] = [
            {**blocks, name: rows.hand_made[name]} for blocks in everything
        ]
    sets["nothing"] = [{"constant": np.zeros((len(rows.labels), 1))}]
    return evaluate(
        rows,
        {
            name: [predict(rows, blocks) for blocks in block_sets]
            for name, block_sets in sets.items()
        },
    )


@dataclass(frozen=True, slots=True, eq=False)
class ProbeTraining:
    """A training on films.

    Args:
        name: share of the data and seed.
        state: its result.
    """

    name: str
    state: EngineState


def measure_rotation(
    rows: ProbeRows, earlier: ProbeTraining, later: ProbeTraining
) -> dict[str, Any]:
    """Apply a linear model of an earlier training's vectors to those of a later one."""
    earlier_model, later_model = require_retriever(earlier.state), require_retriever(later.state)
    ids, size = earlier.state.catalogue.vocabulary.ids, later_model.parts["network"]
    space = VectorSpace.begin(MODEL, 1, earlier_model.parts, ids, earlier_model.vectors_of)
    continuation = space.continue_with(later_model.parts, ids, later_model.vectors_of)[1]
    # Also if a new space version begins: shows the effect of low agreement.
    rotation = fit_procrustes(
        later_model.item_vectors[:, :size], earlier_model.item_vectors[:, :size]
    )

    def network(vectors: NDArray[np.float32]) -> Blocks:
        return {"network": vectors[rows.subjects].astype(np.float64)}

    earlier_blocks, later_blocks = (
        network(model.item_vectors[:, :size]) for model in (earlier_model, later_model)
    )
    values = {
        "earlier": predict(rows, earlier_blocks),
        "later, learned anew": predict(rows, later_blocks),
        "later, turned": predict(
            rows, earlier_blocks, network(later_model.item_vectors[:, :size] @ rotation)
        ),
        "later, not turned": predict(rows, earlier_blocks, later_blocks),
    }
    weights = rows.is_predicted.astype(np.float64)
    return {
        "trainings": f"{earlier.name} -> {later.name}",
        "agreement": dict(continuation.agreement),
        "same_space": not continuation.reason,
        **{name: score(rows, prediction, weights) for name, prediction in values.items()},
    }


def probe_films(data: Path, cache: Path, seeds: int) -> dict[str, Any]:
    """Both tasks on films, and the transfer of linear models between trainings."""
    dataset = read_films(data, {})
    times = dataset.events.timestamps
    cut = float(times[int(FILM_CUT * len(times))])
    states = [train_state(dataset, cut, cache, seed) for seed in range(seeds)]
    ratings = build_rating_rows(dataset, cut)
    tasks = [probe(rows, dataset, states) for rows in (ratings, build_genre_rows(dataset, cut))]
    last = ProbeTraining(f"first {FILM_CUT:.0%}, seed 0", states[0])
    others = [
        ProbeTraining(
            f"first {share:.0%}, seed 0",
            train_state(dataset, times[int(share * len(times))], cache, 0),
        )
        for share in EARLIER
    ]
    others += [
        ProbeTraining(f"first {FILM_CUT:.0%}, seed {number}", state)
        for number, state in enumerate(states)
    ][1:]
    return {
        "tasks": tasks,
        "space": [measure_rotation(ratings, training, last) for training in others],
    }


def probe_shop(data: Path, cache: Path, seeds: int) -> dict[str, Any]:
    """Prediction of returning customers."""
    purchases = read_purchases(data / "online_retail.parquet")
    end = float(purchases.dataset.events.timestamps[-1])
    cuts = end - WINDOW * np.arange(SHOP_MONTHS, 0, -1, dtype=np.float64)
    states = [train_state(purchases.dataset, cuts[0], cache, seed) for seed in range(seeds)]
    return {
        "tasks": [
            probe(
                build_return_rows(purchases, cuts, SHOP_TRAINING_MONTHS), purchases.dataset, states
            )
        ]
    }


def print_tables(result: Mapping[str, Any]) -> None:
    """Print one line per feature set, then one block per pair of trainings."""
    for task in result["tasks"]:
        print(f"\n{task['task']}: {task['metric']}, {task['rows']} rows of {task['units']}")
        for name, row in task["features"].items():
            (low, high), (least, most) = row["ci95"], row["difference_ci95"]
            print(
                f"  {name:<34}{row['value']:7.3f} ({low:.3f} to {high:.3f})"
                f"  {row['difference']:+.3f} ({least:+.3f} to {most:+.3f})"
            )
    for row in result.get("space", ()):
        print()
        for name, value in row.items():
            print(f"  {name:<34}{value}")


def main() -> None:
    """Parse, measure, print tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("SERENDIP_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--cache", type=Path, required=True, help="folder of vectors")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    start, results = time.process_time(), {}
    for name, run in ((FILMS, probe_films), (SHOP, probe_shop)):
        if not (options.data / name).is_dir():
            print(f"skipped: {options.data / name} does not exist; --data is its parent.")
            continue
        results[name] = run(options.data / name, options.cache, options.seeds)
        print_tables(results[name])
    seconds = round(time.process_time() - start, 1)
    if options.json is not None:
        document = {"benchmark": "probe", "seeds": options.seeds, "cpu_s": seconds, **results}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\n{seconds} CPU-seconds")


if __name__ == "__main__":
    main()
