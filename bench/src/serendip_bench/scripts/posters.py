"""Images and texts for cold films: semantic IDs of both against semantic IDs of text alone.

    python -m serendip_bench.scripts.posters --cache DIR [--data DIR] [--models a,b]
        [--seeds 3] [--json FILE]

``--data`` (default: ``SERENDIP_DATA``, else ../shared/data) holds ``movielens-small`` and
``movielens-posters``; without them the script is skipped. Posters and vectors are cached in
``--cache``. Per seed 5 % of the films with a poster are held out of training and of all histories;
cold requests are all events with these films, warm ones have the last film of a user as target. All
films are ranked.

Shapes: T requests, U users.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads()

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.image import ImageConfig, open_image_encoder
from serendip.content.encoders.media_files import Media
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.content.features import encode_items
from serendip.content.fusion import TEXT
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, measure_code_quality
from serendip.data import BoolArray, Dataset, FloatArray, ItemFeatures
from serendip.data.items.features import ModalityVectors
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Values
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarity
from serendip.models.retriever.config import ItemMode, RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets import posters
from serendip_bench.datasets.posters import IMAGE, READINGS, WORDS
from serendip_bench.ranking_values import LABELS, rank_all, values_of_ranks
from serendip_bench.splits import BenchSplit, build_cold_events_split

ITEM_MODES: tuple[ItemMode, ...] = ("codes", "content+codes")
MODELS = ("content-knn", *ITEM_MODES)
BASELINE = "text"
SMALL: dict[str, Any] = {
    "epochs": 10,
    "slots": 0,
    "blind_share": 0.0,
    "new_item_bonus": 0.0,
}
"""Values that differ from the retriever's defaults."""

COMPARED = ("R@10", "N@10")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Values of one model with one reading of the films at one seed.

    Args:
        users: T user ids, one per request.
        values: (T, 4), columns as ``LABELS``.
        cold: (T,) True if the target is cold.
    """

    users: list[str]
    values: Values
    cold: BoolArray


def run(data: Path, cache: Path, models: Sequence[str], seeds: int) -> dict[str, Any]:
    """Measure all models and readings."""
    start = time.process_time()
    dataset, encoded = encode_films(data, cache)
    encode_seconds = time.process_time() - start
    evaluations_of: dict[tuple[str, str], list[Evaluation]] = {}
    codes: dict[str, list[dict[str, float]]] = {name: [] for name in READINGS}
    with_poster = np.flatnonzero(encoded[IMAGE].present).astype(np.int32)
    for seed in range(seeds):
        split = build_cold_events_split(dataset, with_poster, seed)
        for name, vectors in build_vectors(split, encoded, seed):
            train_features, new_features = split.features(vectors, ResidualKMeansConfig(), seed)
            codes[name].append(measure_codes(split, dataset, encoded, train_features, new_features))
            for model in models:
                evaluation = evaluate_model(
                    _build_model(model), split, train_features, new_features, seed
                )
                evaluations_of.setdefault((model, name), []).append(evaluation)
    return {
        "benchmark": "posters",
        "films": dataset.num_items,
        "with_poster": len(with_poster),
        "events": len(dataset.events),
        "seeds": seeds,
        "retriever": SMALL,
        "encode_cpu_s": round(encode_seconds, 1),
        "cpu_s": round(time.process_time() - start - encode_seconds, 1),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "codes": {name: _mean_fields(rows) for name, rows in codes.items()},
        "rows": [
            _summarise(model, name, evaluations)
            for (model, name), evaluations in evaluations_of.items()
        ],
        "comparisons": list(_compare(evaluations_of)),
    }


def encode_films(data: Path, cache: Path) -> tuple[Dataset, dict[str, ModalityVectors]]:
    """Films with ratings, and their text and image vectors."""
    pictures = cache / "posters"
    files = posters.unpack_posters(data / posters.POSTERS / "posters.zip", pictures)
    dataset = posters.read_films(data / posters.FILMS, files)
    config = ImageConfig()
    encoder = open_image_encoder(config)
    encoded = encode_items(
        dataset.catalogue.items,
        open_encoder(TextEncoderConfig()),
        VectorCache(cache / "vectors"),
        WORDS,
        {IMAGE: Media(encoder, IMAGE, pictures, config.max_bytes, config.read)},
    )
    return dataset, encoded


def build_vectors(
    split: BenchSplit, encoded: Mapping[str, ModalityVectors], seed: int
) -> Iterator[tuple[str, FloatArray]]:
    """Each reading with the vectors of all films, fitted on films of the training part."""
    train_nums = split.numbers[: split.train.num_items]
    for name, reading in READINGS.items():
        yield name, posters.build_film_vectors(encoded, reading, train_nums, seed)


def measure_codes(
    split: BenchSplit,
    dataset: Dataset,
    encoded: Mapping[str, ModalityVectors],
    train_features: ItemFeatures,
    new_features: ItemFeatures,
) -> dict[str, float]:
    """Genre similarity of neighbours and of films with the same code, for films with both."""
    numbers = np.arange(len(new_features), dtype=np.int32) + len(train_features)
    features = train_features.put(numbers, new_features)
    genres = posters.build_genre_table(dataset.catalogue)[split.numbers]
    has_both = (encoded[TEXT].present & encoded[IMAGE].present)[split.numbers]
    rows = np.flatnonzero(has_both & genres.any(axis=1))
    genres, first_codes = genres[rows], features.codes[rows, 0]
    quality = measure_code_quality(features.codes[rows], features.codebook_size)
    return {
        "genres_neighbours": posters.measure_neighbour_genres(genres, features.content[rows]),
        "genres_code": posters.measure_group_genres(genres, first_codes),
        "genres_chance": posters.measure_group_genres(genres, np.zeros_like(first_codes)),
        "perplexity": quality.perplexity[0],
        "collision_rate": quality.collision_rate,
    }


def evaluate_model(
    model: Recommender,
    split: BenchSplit,
    train_features: ItemFeatures,
    new_features: ItemFeatures,
    seed: int,
) -> Evaluation:
    """Train without the cold films, add them by content alone, rank all films."""
    model.train(split.train.with_features(train_features), TrainOptions(seed))
    model = model.with_late(new_features)
    queries, items = split.test.queries, split.test.items
    ranking = rank_all(
        lambda rows: model.score_all(queries[rows]), items, [query.exclude for query in queries]
    )
    users = [query.user_id for query in queries]
    return Evaluation(users, values_of_ranks(ranking.ranks), split.cold[items])


def _build_model(model: str) -> Recommender:
    for mode in ITEM_MODES:
        if mode == model:
            return Retriever(RetrieverConfig(item_mode=mode, **SMALL))
    return ContentSimilarity()


def _mean_fields(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _mean_by_user(evaluations: list[Evaluation], cold: bool) -> Values:
    """(U, 4) mean over the cold (or warm) requests of each user at all seeds."""
    masks = [evaluation.cold == cold for evaluation in evaluations]
    users = [
        np.array(evaluation.users)[rows]
        for evaluation, rows in zip(evaluations, masks, strict=True)
    ]
    values = [evaluation.values[rows] for evaluation, rows in zip(evaluations, masks, strict=True)]
    groups = np.unique(np.concatenate(users), return_inverse=True)[1]
    return per_user(np.concatenate(values), groups)


def _summarise(model: str, name: str, evaluations: list[Evaluation]) -> dict[str, Any]:
    """Means over users with their intervals."""
    row: dict[str, Any] = {"model": model, "reading": name, "ci95": {}}
    for kind in ("cold", "warm"):
        values = _mean_by_user(evaluations, kind == "cold")
        row[f"{kind}_users"] = len(values)
        row[f"{kind}_requests"] = sum(
            int((evaluation.cold == (kind == "cold")).sum()) for evaluation in evaluations
        )
        for label, estimate in zip(LABELS, estimates(values), strict=True):
            row[f"{kind}_{label}"] = estimate.value
            row["ci95"][f"{kind}_{label}"] = [estimate.low, estimate.high]
    return row


def _compare(
    evaluations_of: Mapping[tuple[str, str], list[Evaluation]],
) -> Iterator[dict[str, Any]]:
    """Every reading minus plain text, paired by user."""
    for (model, name), evaluations in evaluations_of.items():
        if name == BASELINE:
            continue
        for kind in ("cold", "warm"):
            pair = [
                _mean_by_user(system, kind == "cold")
                for system in (evaluations, evaluations_of[model, BASELINE])
            ]
            for label in COMPARED:
                column = LABELS.index(label)
                names = (name, BASELINE, f"{kind}_{label}")
                comparison = compare_values(names, pair[0][:, column], pair[1][:, column])
                yield {"model": model, **asdict(comparison)}


def print_table(result: Mapping[str, Any]) -> None:
    """Print the quality of the codes, then the metrics of the models."""
    print(
        f"{'reading':<26}{'genres: neighbours':>20}{'same code':>11}{'chance':>8}{'perplexity':>12}"
    )
    for name, row in result["codes"].items():
        print(
            f"{name:<26}{row['genres_neighbours']:>20.4f}{row['genres_code']:>11.4f}"
            f"{row['genres_chance']:>8.4f}{row['perplexity']:>12.1f}"
        )
    differences = {
        (comparison["model"], comparison["system"]): comparison
        for comparison in result["comparisons"]
        if comparison["metric"] == "cold_N@10"
    }
    print(f"\n{'model':<15}{'reading':<26}{'cold R@10':>10}{'cold N@10 (95 %)':>26}", end="")
    print(f"{'warm R@10':>11}{'N@10':>8}   cold N@10 against text")
    for row in result["rows"]:
        low, high = row["ci95"]["cold_N@10"]
        comparison = differences.get((row["model"], row["reading"]))
        against = ""
        if comparison is not None:
            interval = f"({comparison['low']:+.4f} to {comparison['high']:+.4f})"
            against = f"{comparison['difference']:+.4f} {interval}"
        print(
            f"{row['model']:<15}{row['reading']:<26}{row['cold_R@10']:>10.4f}"
            f"{row['cold_N@10']:>10.4f} ({low:.4f}-{high:.4f})"
            f"{row['warm_R@10']:>11.4f}{row['warm_N@10']:>8.4f}   {against}"
        )


def main() -> None:
    """Parse, measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("SERENDIP_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--cache", type=Path, required=True, help="folder of posters and vectors")
    parser.add_argument("--models", default=",".join(MODELS), help="some of: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    for name in (posters.FILMS, posters.POSTERS):
        if not (options.data / name).is_dir():
            print(f"skipped: {options.data / name} does not exist; --data is its parent.")
            return
    models = options.models.split(",")
    if unknown := set(models) - set(MODELS):
        parser.error(f"no model is called {min(unknown)!r}; known: {', '.join(MODELS)}")
    result = run(options.data, options.cache, models, options.seeds)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_table(result)


if __name__ == "__main__":
    main()
