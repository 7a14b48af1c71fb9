"""What the retriever's vectors are worth on tasks that they were not trained for.

    pip install 'serendip[probe]'
    python src/serendip_bench/scripts/probe.py --cache DIR [--data DIR] [--seeds 3] [--json FILE]

``--data`` (default: ``SERENDIP_DATA``, else ../shared/data) holds ``movielens-small`` and
``online-retail``; what is not there is skipped by name. The retriever is fitted as ``serendip
train`` does, on the events before a cut; vectors of users read their history up to the month that
is asked for, and nothing of it. Linear models foretell from features made by hand, from vectors,
and from both; intervals (95 %) draw films, users or customers. Then vectors of a later training
are put before a model of an earlier one, on their own axes and turned onto the earlier ones.
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

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.engine.settings import Settings
from serendip.engine.stages.batch import shorten_history
from serendip.engine.state import EngineState
from serendip.jobs.train.carry_over import MODEL, require_retriever
from serendip.jobs.train.fit import Fitter
from serendip.models.embedding_space import VectorSpace
from serendip.models.linalg import fit_procrustes
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.datasets.posters import read_films
from serendip_bench.scripts.probe_data import (
    WINDOW,
    Matrix,
    ProbeRows,
    favourite_genres,
    film_ratings,
    read_purchases,
    returns,
)

FILMS, SHOP = "movielens-small", "online-retail"
FILM_CUT = 0.5
EARLIER = (0.45, 0.35, 0.2)
"""Shares of the films' log that earlier trainings have seen, for the space."""

SHOP_MONTHS, SHOP_LEARNED = 5, 3
"""Cuts before the end of the shop's log, and how many of them are learned from."""

FOLDS, RESAMPLES = 5, 500
ALPHAS, STRENGTHS = np.logspace(-2, 5, 15), np.logspace(-4, 1, 6)

Blocks = Mapping[str, Matrix]
"""Name -> (R, F); each weighs as much as another, however many columns it has."""

Predicted = NDArray[Any]


def fitted(dataset: Dataset, before: float, cache: Path, seed: int) -> EngineState:
    """Everything but a ranker, from the events before a time."""
    settings, log = Settings(), dataset.events
    past = replace(dataset, events=log.rows(log.timestamps < before), _by_user={})
    with tempfile.TemporaryDirectory() as scratch:
        encoder, vectors = open_encoder(settings.content), VectorCache(cache)
        fitter = Fitter(settings, encoder, vectors, Path(scratch), StageClock())
        return fitter.fit_sources(past, "probe", TrainOptions(seed))


def vectors_of(rows: ProbeRows, dataset: Dataset, state: EngineState) -> dict[str, Matrix]:
    """(R, width) of each part of the vectors of what the rows are about."""
    retriever = require_retriever(state)
    if len(rows.times):
        asked = zip(rows.subjects.tolist(), rows.times.tolist(), strict=True)
        queries = [Query(history=dataset.history(user).before(time)) for user, time in asked]
        found = retriever.encode_queries([shorten_history(query, state) for query in queries])
    else:
        found = retriever.item_vectors[rows.subjects]
    ends = np.cumsum(list(retriever.parts.values()))
    parts = dict(zip(retriever.parts, np.split(found, ends[:-1], axis=1), strict=True))
    return {name: parts[name].astype(np.float64) for name in ("network", "content")}


def folds_of(rows: ProbeRows) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(learned, foretold) rows."""
    if not rows.foretold.all():
        return [(np.flatnonzero(~rows.foretold), np.flatnonzero(rows.foretold))]
    order = np.random.default_rng(0).permutation(int(rows.units.max()) + 1)
    return list(GroupKFold(FOLDS).split(rows.labels, groups=order[rows.units]))


def fit(rows: ProbeRows, learned: NDArray[np.intp], features: Matrix) -> Any:
    """A linear model whose regularisation is chosen among the learned rows."""
    labels = rows.labels[learned]
    if rows.metric == "R2":
        return RidgeCV(ALPHAS).fit(features, labels)
    inner = list(GroupKFold(3).split(features, groups=rows.units[learned]))
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=inner,
        l1_ratios=(0,),
        scoring="neg_log_loss",
        max_iter=2000,
        use_legacy_attributes=False,
    )
    return model.fit(features, labels)


def foretold(rows: ProbeRows, blocks: Blocks, asked: Blocks | None = None) -> Predicted:
    """(R,) predictions of rows that the model has not seen; those of none are 0.

    Args:
        rows: the task.
        blocks: features that are learned from.
        asked: features of the rows that are foretold; None = the same.
    """
    found = np.zeros(len(rows.labels))
    for learned, others in folds_of(rows):
        scales = {name: _scale(block[learned]) for name, block in blocks.items()}
        model = fit(rows, learned, _joined(blocks, scales, learned))
        features = _joined(asked or blocks, scales, others)
        answers = model.predict(features)
        if rows.metric == "AUROC":
            answers = model.predict_proba(features)[:, 1]
        found[others] = answers
    return found


def _scale(block: Matrix) -> tuple[Matrix, Matrix]:
    spread = block.std(0)
    return block.mean(0), np.where(spread > 1e-9, spread, 1.0) * np.sqrt(block.shape[1])


def _joined(
    blocks: Blocks, scales: Mapping[str, tuple[Matrix, Matrix]], rows: NDArray[np.intp]
) -> Matrix:
    parts = [(block[rows] - scales[name][0]) / scales[name][1] for name, block in blocks.items()]
    return np.concatenate(parts, axis=1)


def score(rows: ProbeRows, predicted: Predicted, weights: Matrix) -> float:
    """The metric over rows with weights (R,)."""
    metric = {"R2": r2_score, "accuracy": accuracy_score, "AUROC": roc_auc_score}[rows.metric]
    return float(metric(rows.labels, predicted, sample_weight=weights))


def judged(rows: ProbeRows, by_seed: Mapping[str, Sequence[Predicted]]) -> dict[str, Any]:
    """Means over seeds with intervals, and paired differences from the first set of features."""

    def means(weights: Matrix) -> dict[str, float]:
        return {
            name: float(np.mean([score(rows, one, weights) for one in found]))
            for name, found in by_seed.items()
        }

    asked, random = rows.foretold.astype(np.float64), np.random.default_rng(0)
    place = np.unique(rows.units, return_inverse=True)[1]
    units = np.unique(place[rows.foretold])
    value, draws = means(asked), []
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.choice(units, len(units)), minlength=place.max() + 1)
        draws.append(means(asked * drawn[place]))
    base, table = next(iter(by_seed)), {}
    for name in by_seed:
        spread = np.array([draw[name] for draw in draws])
        apart = spread - np.array([draw[base] for draw in draws])
        table[name] = {
            "value": value[name],
            "ci95": np.quantile(spread, (0.025, 0.975)).tolist(),
            "difference": value[name] - value[base],
            "difference_ci95": np.quantile(apart, (0.025, 0.975)).tolist(),
        }
    return {
        "task": rows.name,
        "metric": rows.metric,
        "rows": int(asked.sum()),
        "units": len(units),
        "features": table,
    }


def probe(rows: ProbeRows, dataset: Dataset, states: Sequence[EngineState]) -> dict[str, Any]:
    """One task with every set of features."""
    plain, *further = rows.hand_made
    sets: dict[str, list[Blocks]] = {
        name: [{name: rows.hand_made[name]}] for name in (plain, *further)
    }
    vectors = [vectors_of(rows, dataset, state) for state in states]
    sets["vectors"] = list(vectors)
    sets["vectors, network only"] = [{"network": one["network"]} for one in vectors]
    for name in (plain, *further):
        sets[f"{name} + vectors"] = [{**one, name: rows.hand_made[name]} for one in vectors]
    sets["nothing"] = [{"constant": np.zeros((len(rows.labels), 1))}]
    return judged(
        rows, {name: [foretold(rows, one) for one in each] for name, each in sets.items()}
    )


@dataclass(frozen=True, slots=True, eq=False)
class ProbeTraining:
    """A training of the films.

    Args:
        name: what it has seen.
        state: what came of it.
    """

    name: str
    state: EngineState


def kept_by_space(rows: ProbeRows, earlier: ProbeTraining, later: ProbeTraining) -> dict[str, Any]:
    """A model of an earlier training's vectors before those of a later one."""
    before, now = require_retriever(earlier.state), require_retriever(later.state)
    ids, size = earlier.state.catalogue.vocabulary.ids, now.parts["network"]
    space = VectorSpace.begin(MODEL, 1, before.parts, ids, before.vectors_of)
    kept = space.continue_with(now.parts, ids, now.vectors_of)[1]
    # Also where another version would begin: what the least agreement is to be judged by.
    turn = fit_procrustes(now.item_vectors[:, :size], before.item_vectors[:, :size])

    def network(vectors: NDArray[np.float32]) -> Blocks:
        return {"network": vectors[rows.subjects].astype(np.float64)}

    learned, own = (network(model.item_vectors[:, :size]) for model in (before, now))
    values = {
        "earlier": foretold(rows, learned),
        "later, learned anew": foretold(rows, own),
        "later, turned": foretold(rows, learned, network(now.item_vectors[:, :size] @ turn)),
        "later, not turned": foretold(rows, learned, own),
    }
    asked = rows.foretold.astype(np.float64)
    return {
        "trainings": f"{earlier.name} -> {later.name}",
        "agreement": dict(kept.agreement),
        "same_space": not kept.reason,
        **{name: score(rows, one, asked) for name, one in values.items()},
    }


def films(data: Path, cache: Path, seeds: int) -> dict[str, Any]:
    """Both tasks on films, and what the space keeps of a model."""
    dataset = read_films(data, {})
    times = dataset.events.timestamps
    cut = float(times[int(FILM_CUT * len(times))])
    states = [fitted(dataset, cut, cache, seed) for seed in range(seeds)]
    ratings = film_ratings(dataset, cut)
    tasks = [probe(rows, dataset, states) for rows in (ratings, favourite_genres(dataset, cut))]
    last = ProbeTraining(f"first {FILM_CUT:.0%}, seed 0", states[0])
    others = [
        ProbeTraining(
            f"first {share:.0%}, seed 0", fitted(dataset, times[int(share * len(times))], cache, 0)
        )
        for share in EARLIER
    ]
    others += [
        ProbeTraining(f"first {FILM_CUT:.0%}, seed {at}", one) for at, one in enumerate(states)
    ][1:]
    return {"tasks": tasks, "space": [kept_by_space(ratings, other, last) for other in others]}


def shop(data: Path, cache: Path, seeds: int) -> dict[str, Any]:
    """Who comes back."""
    purchases = read_purchases(data / "online_retail.parquet")
    end = float(purchases.dataset.events.timestamps[-1])
    cuts = end - WINDOW * np.arange(SHOP_MONTHS, 0, -1, dtype=np.float64)
    states = [fitted(purchases.dataset, cuts[0], cache, seed) for seed in range(seeds)]
    return {"tasks": [probe(returns(purchases, cuts, SHOP_LEARNED), purchases.dataset, states)]}


def print_tables(result: Mapping[str, Any]) -> None:
    """One line per set of features; then one block per pair of trainings."""
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
    """Read the arguments, measure, print tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("SERENDIP_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--cache", type=Path, required=True, help="vectors, kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    options = parser.parse_args()
    started, results = time.process_time(), {}
    for name, run in ((FILMS, films), (SHOP, shop)):
        if not (options.data / name).is_dir():
            print(f"skipped: {options.data / name} is not there; name its parent with --data.")
            continue
        results[name] = run(options.data / name, options.cache, options.seeds)
        print_tables(results[name])
    spent = round(time.process_time() - started, 1)
    if options.json is not None:
        document = {"benchmark": "probe", "seeds": options.seeds, "cpu_s": spent, **results}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\n{spent} CPU-seconds")


if __name__ == "__main__":
    main()
