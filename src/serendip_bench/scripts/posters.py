"""Pictures and words on cold films: codes of image and text against codes of text alone.

    python src/serendip_bench/scripts/posters.py --cache DIR [--data DIR] [--models a,b]
        [--seeds 3] [--json FILE]

``--data`` (default: ``SERENDIP_DATA``, else ../shared/data) holds ``movielens-small`` and
``movielens-posters``; without them nothing is run. Posters are unpacked and vectors are kept in
``--cache``. Per seed 5 % of the films that have a poster are taken out of training and of all
histories; cold requests are all events with them, warm ones the last films of the other users. All
films are ranked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import (
    ItemFeatures,
    ModalityVectors,
)
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.full_ranking import LABELS, rank_all, values_of_ranks
from serendip.evaluate.intervals import estimates, per_user
from serendip.evaluate.runs import Values
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarity
from serendip.models.retriever.config import ItemMode, RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets import posters
from serendip_bench.datasets.posters import IMAGE, READINGS, WORDS
from serendip_bench.splits import BenchSplit, build_cold_events_split

ITEM_MODES: tuple[ItemMode, ...] = ("codes", "content+codes")
MODELS = ("content-knn", *ITEM_MODES)
BASELINE = "text"
CHEAP_ONLY = ("text, whiten", "image, whiten")
"""Readings that nothing is trained on; ``content-knn`` alone is asked."""

SMALL: dict[str, Any] = {
    "epochs": 10,
    "slots": 0,
    "blind_share": 0.0,
    "new_item_bonus": 0.0,
}
"""What differs from the retriever's defaults."""

SHOWN = ("R@10", "N@10")


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """How one model with one reading of the films did at one seed.

    Args:
        users: T user ids, one per request.
        values: (T, 4), columns as ``LABELS``.
        cold: (T,) whether the film asked for was cold.
    """

    users: list[str]
    values: Values
    cold: BoolArray


def run(data: Path, cache: Path, models: Sequence[str], seeds: int) -> dict[str, Any]:
    """All figures."""
    started = time.process_time()
    dataset, encoded = encoded_films(data, cache)
    encoding = time.process_time() - started
    answers: dict[tuple[str, str], list[Answered]] = {}
    codes: dict[str, list[dict[str, float]]] = {name: [] for name in READINGS}
    pictured = np.flatnonzero(encoded[IMAGE].present).astype(np.int32)
    for seed in range(seeds):
        trial = build_cold_events_split(dataset, pictured, seed)
        for name, vectors in read_vectors(trial, encoded, seed):
            known, new = trial.features(vectors, ResidualKMeansConfig(), seed)
            codes[name].append(judged_codes(trial, dataset, encoded, known, new))
            for model in models:
                if model in ITEM_MODES and name in CHEAP_ONLY:
                    continue
                found = answered(_untrained(model), trial, known, new, seed)
                answers.setdefault((model, name), []).append(found)
    return {
        "benchmark": "posters",
        "films": dataset.num_items,
        "with_poster": len(pictured),
        "events": len(dataset.events),
        "seeds": seeds,
        "retriever": SMALL,
        "encode_cpu_s": round(encoding, 1),
        "cpu_s": round(time.process_time() - started - encoding, 1),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "codes": {name: _means(rows) for name, rows in codes.items()},
        "rows": [_row(model, name, found) for (model, name), found in answers.items()],
        "comparisons": list(_compared(answers)),
    }


def encoded_films(data: Path, cache: Path) -> tuple[Dataset, dict[str, ModalityVectors]]:
    """Films with their ratings, and what is encoded of words and posters."""
    pictures = cache / "posters"
    found = posters.unpack_posters(data / posters.POSTERS / "posters.zip", pictures)
    dataset = posters.read_films(data / posters.FILMS, found)
    config = ImageConfig()
    encoder = open_image_encoder(config, cache / "weights")
    encoded = encode_items(
        dataset.catalogue.items,
        open_encoder(TextEncoderConfig()),
        VectorCache(cache / "vectors"),
        WORDS,
        {IMAGE: Media(encoder, IMAGE, pictures, config.max_bytes, config.read)},
    )
    return dataset, encoded


def read_vectors(
    trial: BenchSplit, encoded: Mapping[str, ModalityVectors], seed: int
) -> Iterator[tuple[str, FloatArray]]:
    """Every reading's name and its vectors of all films, fitted on those of the training part."""
    known = trial.numbers[: trial.train.num_items]
    for name, reading in READINGS.items():
        yield name, posters.build_film_vectors(encoded, reading, known, seed)


def judged_codes(
    trial: BenchSplit,
    dataset: Dataset,
    encoded: Mapping[str, ModalityVectors],
    known: ItemFeatures,
    new: ItemFeatures,
) -> dict[str, float]:
    """Genres of neighbours and of films with the same code; of films with words and a poster."""
    features = known.extended(new)
    genres = posters.build_genre_table(dataset.catalogue)[trial.numbers]
    has_both = (encoded[TEXT].present & encoded[IMAGE].present)[trial.numbers]
    rows = np.flatnonzero(has_both & genres.any(axis=1))
    genres, first = genres[rows], features.codes[rows, 0]
    used = measure_code_quality(features.codes[rows], features.codebook_size)
    return {
        "genres_neighbours": posters.measure_neighbour_genres(genres, features.content[rows]),
        "genres_code": posters.measure_group_genres(genres, first),
        "genres_chance": posters.measure_group_genres(genres, np.zeros_like(first)),
        "perplexity": used.perplexity[0],
        "collision_rate": used.collision_rate,
    }


def answered(
    model: Recommender, trial: BenchSplit, known: ItemFeatures, new: ItemFeatures, seed: int
) -> Answered:
    """Train without the cold films, make them known by content alone, rank all films."""
    model.train(trial.train.with_features(known), TrainOptions(seed))
    model = model.with_items(new)
    queries, items = trial.test.queries, trial.test.items
    ranking = rank_all(
        lambda rows: model.score_all(queries[rows]), items, [query.exclude for query in queries]
    )
    users = [query.user_id for query in queries]
    return Answered(users, values_of_ranks(ranking.ranks), trial.cold[items])


def _untrained(model: str) -> Recommender:
    for mode in ITEM_MODES:
        if mode == model:
            return Retriever(RetrieverConfig(item_mode=mode, **SMALL))
    return ContentSimilarity()


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _by_user(found: list[Answered], cold: bool) -> Values:
    """(U, 4): each user's mean over its requests of one kind at all seeds."""
    chosen = [one.cold == cold for one in found]
    users = [np.array(one.users)[rows] for one, rows in zip(found, chosen, strict=True)]
    values = [one.values[rows] for one, rows in zip(found, chosen, strict=True)]
    groups = np.unique(np.concatenate(users), return_inverse=True)[1]
    return per_user(np.concatenate(values), groups)


def _row(model: str, name: str, found: list[Answered]) -> dict[str, Any]:
    """Means over users with their intervals."""
    row: dict[str, Any] = {"model": model, "reading": name, "ci95": {}}
    for kind in ("cold", "warm"):
        values = _by_user(found, kind == "cold")
        row[f"{kind}_users"] = len(values)
        row[f"{kind}_requests"] = sum(int((one.cold == (kind == "cold")).sum()) for one in found)
        for label, one in zip(LABELS, estimates(values), strict=True):
            row[f"{kind}_{label}"] = one.value
            row["ci95"][f"{kind}_{label}"] = [one.low, one.high]
    return row


def _compared(answers: Mapping[tuple[str, str], list[Answered]]) -> Iterator[dict[str, Any]]:
    """Every reading minus text as it is, paired by user."""
    for (model, name), found in answers.items():
        if name == BASELINE:
            continue
        for kind in ("cold", "warm"):
            pair = [_by_user(one, kind == "cold") for one in (found, answers[model, BASELINE])]
            for label in SHOWN:
                column = LABELS.index(label)
                names = (name, BASELINE, f"{kind}_{label}")
                compared = compare_values(names, pair[0][:, column], pair[1][:, column])
                yield {"model": model, **compared.as_dict()}


def print_table(result: Mapping[str, Any]) -> None:
    """Codes first, then what they are good for."""
    print(
        f"{'reading':<26}{'genres: neighbours':>20}{'same code':>11}{'chance':>8}{'perplexity':>12}"
    )
    for name, row in result["codes"].items():
        print(
            f"{name:<26}{row['genres_neighbours']:>20.4f}{row['genres_code']:>11.4f}"
            f"{row['genres_chance']:>8.4f}{row['perplexity']:>12.1f}"
        )
    differences = {
        (one["model"], one["system"]): one
        for one in result["comparisons"]
        if one["metric"] == "cold_N@10"
    }
    print(f"\n{'model':<15}{'reading':<26}{'cold R@10':>10}{'cold N@10 (95 %)':>26}", end="")
    print(f"{'warm R@10':>11}{'N@10':>8}   cold N@10 against text")
    for row in result["rows"]:
        low, high = row["ci95"]["cold_N@10"]
        one = differences.get((row["model"], row["reading"]))
        against = ""
        if one is not None:
            against = f"{one['difference']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})"
        print(
            f"{row['model']:<15}{row['reading']:<26}{row['cold_R@10']:>10.4f}"
            f"{row['cold_N@10']:>10.4f} ({low:.4f}-{high:.4f})"
            f"{row['warm_R@10']:>11.4f}{row['warm_N@10']:>8.4f}   {against}"
        )


def main() -> None:
    """Read the arguments, measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("SERENDIP_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--cache", type=Path, required=True, help="posters and vectors, kept")
    parser.add_argument("--models", default=",".join(MODELS), help="some of: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    options = parser.parse_args()
    for name in (posters.FILMS, posters.POSTERS):
        if not (options.data / name).is_dir():
            print(f"skipped: {options.data / name} is not there; name its parent with --data.")
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
