"""A text encoder and its readings, on what people see: words of people, names, likeness, products.

    python -m serendip_bench.scripts.encoders [--encoder NAME] [--data DIR] [--films 3600]
        [--field-chars 0 100 160 220]

``--data`` (default: ``SERENDIP_DATA``, else ../shared/data) holds ``movielens-small``, ``redial``
and ``esci-mini``. Vectors alone are measured, not the service: items by cosine with the query or
item. A reading cuts each field to a number of characters (0 = not at all), and centres items, items
and queries, or neither. Films are those with tags or targets, and random ones. Texts are folded
(NFKC, case). For each measure: the mean of even queries (for choices), of odd ones (for reports),
the difference of all from the first reading, and its 95 % interval, which resamples queries.

Shapes: N items, Q queries, D vector size.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.text import TextEncoderConfig, encoder_names, open_encoder
from serendip.data.arrays import FloatArray
from serendip.data.numeric import unit

SEED, RESAMPLES, TOP = 5, 1000, 10
GAINS = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
CENTRED = ("nothing", "items", "items and queries")
Row: TypeAlias = Mapping[str, Any]
Encode: TypeAlias = Callable[[Sequence[str]], FloatArray]
Queries: TypeAlias = Sequence[tuple[str, set[int]]]
Values: TypeAlias = Mapping[str, Sequence[float]]


class Vectors:
    """Encodes by a reading.

    Args:
        encode: texts -> vectors (N, D).
        chars: most characters of a field; 0 = all.
        centred: one of ``CENTRED``.
    """

    def __init__(self, encode: Encode, chars: int, centred: str) -> None:
        self._encode, self._chars, self._centred = encode, chars, centred

    def items(self, rows: Sequence[Sequence[str]]) -> tuple[FloatArray, FloatArray]:
        """Vectors (N, D) of items by their fields, and the mean (D,)."""
        texts = [". ".join(f[: self._chars or None] for f in fields if f) for fields in rows]
        vectors = self._encode(texts)
        mean = vectors.mean(axis=0)
        return (vectors if self._centred == CENTRED[0] else unit(vectors - mean)), mean

    def queries(self, texts: Sequence[str], mean: FloatArray) -> FloatArray:
        """Vectors (Q, D) of queries; ``mean`` is that of the items."""
        vectors = self._encode(texts)
        return unit(vectors - mean) if self._centred == CENTRED[2] else vectors


def encode_once(encoder: TextEncoder) -> Encode:
    """Encode folded texts, each once."""
    known: dict[str, FloatArray] = {}

    def encode(texts: Sequence[str]) -> FloatArray:
        folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
        new = sorted(set(folded) - set(known), key=len)
        known.update(zip(new, encoder.encode(new), strict=True))
        return np.stack([known[text] for text in folded])

    return encode


@dataclass(frozen=True, slots=True)
class Films:
    """Films and what people said of them; queries name films by row."""

    fields: Sequence[Sequence[str]]
    genres: Sequence[set[str]]
    tags: Mapping[int, set[str]]
    queries: Mapping[str, Queries]

    @classmethod
    def read(cls, data: Path, most: int) -> Films:
        """Read the films with tags, those that people asked for, and random ones up to ``most``."""
        rows = {row["item_id"]: row for row in _lines(data / "movielens-small/items.jsonl")}
        tagged = _lines(data / "movielens-small/tag_queries.jsonl")
        spoken = _lines(data / "redial/queries.jsonl")
        rng = np.random.default_rng(SEED)
        asked = [spoken[i] for i in rng.permutation(len(spoken))[:600]]
        wanted = {n for q in tagged for n in q["items"]} | {n for q in asked for n in q["targets"]}
        rest = rng.permutation(sorted(set(rows) - wanted)).tolist()
        ids = sorted((wanted & set(rows)) | set(rest[: max(0, most - len(wanted))]))
        row_of = {film: row for row, film in enumerate(ids)}
        films, tags = [rows[film] for film in ids], defaultdict[int, set[str]](set)
        for query in tagged:
            for film in query["items"]:
                tags[row_of[film]].add(query["tag"])
        queries = {
            "tags": [(q["tag"], {row_of[n] for n in q["items"]}) for q in tagged],
            "redial": [
                (q["query"], {row_of[n] for n in q["targets"] if n in row_of}) for q in asked
            ],
            "names": _name_queries(films),
        }
        queries = {name: [q for q in asked if q[1]] for name, asked in queries.items()}
        genres = [set(film["genres"]) - {"(no genres listed)"} for film in films]
        return cls([_film_fields(film) for film in films], genres, tags, queries)

    def measure(self, vectors: Vectors) -> dict[str, Sequence[float]]:
        """nDCG@10 of tags and redial, precision@5 of names, likeness of ten similar films."""
        items, mean = vectors.items(self.fields)
        values: dict[str, Sequence[float]] = {}
        for name, queries in self.queries.items():
            scores = vectors.queries([text for text, _ in queries], mean) @ items.T  # (Q, N)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
            measure = _precision if name == "names" else _ndcg
            pairs = zip(best.tolist(), queries, strict=True)
            values[name] = [measure(found, wanted) for found, (_, wanted) in pairs]
        several = np.array([row for row, tags in self.tags.items() if len(tags) >= 3])
        values["shared tag"] = [
            float(np.mean([bool(self.tags[row] & self.tags[other]) for other in similar]))
            for row, similar in _similar(items, several, several)
        ]
        drawn = np.random.default_rng(1).permutation(len(items))[:600]
        values["genre Jaccard"] = [
            float(np.mean([_jaccard(self.genres[row], self.genres[other]) for other in similar]))
            for row, similar in _similar(items, drawn, np.arange(len(items)))
        ]
        return values


def measure_products(data: Path, vectors: Vectors) -> dict[str, Sequence[float]]:
    """nDCG@10 and AUROC among the judged products of each query."""
    known_products = {row["item_id"]: row for row in _lines(data / "esci-mini/items.jsonl")}
    judged = defaultdict[str, list[tuple[str, str]]](list)
    with (data / "esci-mini/judgements.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            judged[row["query"]].append((row["item_id"], row["label"]))
    ids = sorted({item for pairs in judged.values() for item, _ in pairs if item in known_products})
    row_of = {item: row for row, item in enumerate(ids)}
    items, mean = vectors.items([_product_fields(known_products[item]) for item in ids])
    queries = vectors.queries(list(judged), mean)  # (Q, D)
    ndcg, auroc = [], []
    for vector, pairs in zip(queries, judged.values(), strict=True):
        known = [(row_of[item], label) for item, label in pairs if item in row_of]
        scores = items[[row for row, _ in known]] @ vector
        gains = np.array([GAINS[label] for _, label in known])
        ideal = _discounted(np.sort(gains)[::-1])
        if ideal:
            ndcg.append(_discounted(gains[np.argsort(-scores, kind="stable")]) / ideal)
        good = np.array([label != "I" for _, label in known])
        if 0 < good.sum() < len(good):
            above = scores[good][:, None] - scores[~good]
            auroc.append(float(((above > 0) + (above == 0) / 2).mean()))
    return {"ESCI nDCG": ndcg, "ESCI AUROC": auroc}


def measure_cost(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """CPU-milliseconds of a text, encoded one by one; the least of three rounds."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        for text in texts:
            encoder.encode([text])
        seconds.append(time.process_time() - begin)
    return 1000 * min(seconds) / len(texts)


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def _film_fields(film: Row) -> list[str]:
    title = re.sub(r"^(.*), (The|A|An)( \(\d{4}\))?$", r"\2 \1\3", film["title"])
    cast = ", ".join((film.get("cast") or "").split("|"))
    listed = ", ".join(film["genres"])
    return [title, film.get("overview") or "", listed, film.get("director") or "", cast]


def _product_fields(row: Row) -> list[str]:
    text = re.sub(r"<[^>]+>", " ", row["description"] or row["bullet_points"] or "")
    category = ", ".join(row["category"] or [])
    return [row["title"], " ".join(text.split()), row["brand"] or "", category]


def _name_queries(films: Sequence[Row]) -> list[tuple[str, set[int]]]:
    """Two hundred people with five films or more, and their films."""
    found = defaultdict[str, set[int]](set)
    for row, film in enumerate(films):
        for name in {film.get("director"), *(film.get("cast") or "").split("|")} - {None, ""}:
            found[name].add(row)
    names = sorted(name for name, rows in found.items() if len(rows) >= 5)
    drawn = np.random.default_rng(SEED).permutation(len(names))[:200]
    return [(names[i], found[names[i]]) for i in drawn]


def _similar(items: FloatArray, rows: Any, among: Any) -> list[tuple[int, list[int]]]:
    """The ten nearest others of each row."""
    scores = items[rows] @ items[among].T
    scores[rows[:, None] == among[None, :]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    return [(int(row), among[near].tolist()) for row, near in zip(rows, best, strict=True)]


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _discounted(gains: Any) -> float:
    top = np.asarray(gains, np.float64)[:TOP]
    return float((top / np.log2(np.arange(len(top)) + 2)).sum())


def _ndcg(found: Sequence[int], wanted: set[int]) -> float:
    return _discounted([row in wanted for row in found]) / _discounted(np.ones(len(wanted) or 1))


def _precision(found: Sequence[int], wanted: set[int]) -> float:
    return float(np.mean([row in wanted for row in found[:5]]))


def compare(values: Values, first: Values) -> dict[str, list[float]]:
    """Mean on dev and on test, difference from the first reading, and its interval."""
    compared = {}
    for name, mine in values.items():
        differences = np.asarray(mine) - np.asarray(first[name])
        rng = np.random.default_rng(SEED)
        drawn = rng.integers(len(differences), size=(RESAMPLES, len(differences)))
        interval = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5]).tolist()
        compared[name] = [float(np.mean(mine[::2])), float(np.mean(mine[1::2]))]
        compared[name] += [float(differences.mean()), *interval]
    return compared


def main() -> None:
    """Measure the readings of an encoder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", default=TextEncoderConfig().name, help=str(encoder_names()))
    parser.add_argument("--data", default=os.environ.get("SERENDIP_DATA", "../shared/data"))
    parser.add_argument("--films", type=int, default=3600)
    parser.add_argument("--field-chars", type=int, nargs="+", default=[0, 100, 160, 220])
    options = parser.parse_args()
    data, encoder = Path(options.data), open_encoder(TextEncoderConfig(name=options.encoder))
    films, encode = Films.read(data, options.films), encode_once(encoder)
    first: Values = {}
    for chars, centred in product(options.field_chars, CENTRED):
        vectors = Vectors(encode, chars, centred)
        values = films.measure(vectors) | measure_products(data, vectors)
        first = first or values
        print(f"{chars or 'all'} characters, {centred} centred:")
        for name, row in compare(values, first).items():
            print(f"  {name:14}", *(f"{value:+.4f}" for value in row), flush=True)
    titles = [fields[0] for fields in films.fields[:100]]
    print(f"CPU-ms a title: {measure_cost(encoder, titles):.2f}")
    for chars in options.field_chars:
        texts = [". ".join(f[: chars or None] for f in fields) for fields in films.fields[:100]]
        cost = measure_cost(encoder, texts)
        print(f"CPU-ms a film, {chars or 'all'} characters of a field: {cost:.2f}")


if __name__ == "__main__":
    main()
