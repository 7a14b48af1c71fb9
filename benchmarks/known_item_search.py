"""Known-item search: does the first hit bear the title that was typed, right or with one slip?

    python benchmarks/known_item_search.py demo/films.csv --ratings demo/ratings.csv

Every distinct title is searched once as it is and once with one random slip (insert, delete,
replace, swap neighbours) in its longest word, where that has five letters or more. Vectors are
random: the time of the cosine search counts, its quality does not. Prints one JSON line; times are
milliseconds of one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import random
import string
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from serendip.scale.threads import limit_threads

limit_threads(1)

import numpy as np  # noqa: E402

from serendip.data import Catalogue, Item  # noqa: E402
from serendip.data.arrays import FloatArray  # noqa: E402
from serendip.data.title import plain_title  # noqa: E402
from serendip.search.searcher import Searcher  # noqa: E402
from serendip.search.suggestions import Suggester  # noqa: E402

T = TypeVar("T")

VECTOR_SIZE = 512
MIN_LETTERS = 5
WARM_UP = 50


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=Path, help="CSV with movieId,title,genres")
    parser.add_argument("--ratings", type=Path, help="CSV with movieId: popularity")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.films, chosen.ratings, chosen.seed)))


def run(films: Path, ratings: Path | None, seed: int) -> dict[str, object]:
    """All figures of one catalogue."""
    catalogue, popularity = _read(films, ratings)
    draw = np.random.default_rng(seed)
    vectors = _unit_vectors(len(catalogue), draw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search"
        build_s, _ = _timed(lambda: Searcher.build(catalogue, vectors, popularity, path))
        size = sum(file.stat().st_size for file in path.iterdir())
        open_ms, searcher = _timed(lambda: Searcher.open(path, catalogue, vectors, popularity))
        titles = list(dict.fromkeys(item.title for item in catalogue.items if item.title))
        rng = random.Random(seed)
        slips = [(slip, title) for title in titles if (slip := with_slip(title, rng))]
        query = _unit_vectors(1, draw)[0]
        exact = _known_items(searcher, catalogue, [(title, title) for title in titles], query)
        typo = _known_items(searcher, catalogue, slips, query)
        return {
            "benchmark": "known_item_search",
            "items": len(catalogue),
            "seed": seed,
            "build_s": round(build_s, 3),
            "open_ms": round(1e3 * open_ms, 1),
            "index_bytes": size,
            "exact": exact,
            "typo": typo,
            "suggest": _suggest(Suggester.of(catalogue.items, searcher), titles, rng),
            "post_one": _post(searcher, vectors[:1]),
            "machine": f"{platform.machine()} python {platform.python_version()}",
        }


def with_slip(title: str, rng: random.Random) -> str:
    """The title with one slip in its longest word; empty where that has under five letters."""
    words = title.split()
    at = max(range(len(words)), key=lambda row: len(words[row]))
    word = words[at]
    if sum(letter.isalpha() for letter in word) < MIN_LETTERS:
        return ""
    slipped = word
    while slipped.casefold() == word.casefold():
        place, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase)
        head, tail = word[:place], word[place:]
        slipped = rng.choice(
            (head + letter + tail, head + tail[1:], head + letter + tail[1:], head + _swap(tail))
        )
    return " ".join([*words[:at], slipped, *words[at + 1 :]])


def _swap(tail: str) -> str:
    return tail[1::-1] + tail[2:]


def _known_items(
    searcher: Searcher, catalogue: Catalogue, pairs: Sequence[tuple[str, str]], vector: FloatArray
) -> dict[str, float]:
    times, found = [], 0
    for text, _ in pairs[:WARM_UP]:
        searcher.search(text, vector, 10)
    for text, title in pairs:
        seconds, hits = _timed(lambda text=text: searcher.search(text, vector, 10))  # type: ignore[misc]
        times.append(seconds)
        found += len(hits) > 0 and catalogue[int(hits.item_nums[0])].title == title
    return {"n": len(pairs), "first_hit": round(found / len(pairs), 5), **_percentiles(times)}


def _suggest(suggester: Suggester, titles: Sequence[str], rng: random.Random) -> dict[str, float]:
    prefixes = [title[: rng.randrange(1, len(title) + 1)] for title in titles]
    return _percentiles([_timed(lambda p=p: suggester.suggest(p, 8))[0] for p in prefixes])  # type: ignore[misc]


def _post(searcher: Searcher, vector: FloatArray) -> dict[str, float]:
    """Time until a newly posted item can be found, each on top of those before it."""
    times = []
    for row in range(200):
        item = Item(f"posted-{row}", f"Posted number {row}", attributes={"genres": ("Drama",)})
        seconds, searcher = _timed(lambda s=searcher, i=item: s.with_items([i], vector))  # type: ignore[misc]
        times.append(seconds)
        assert searcher.search(item.title, None, 1).item_nums[0] == searcher.num_items - 1
    return _percentiles(times)


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    values = np.percentile(1e3 * np.asarray(seconds), [50, 95, 99])
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), values.round(3).tolist(), strict=True))


def _unit_vectors(count: int, draw: np.random.Generator) -> FloatArray:
    rows = draw.normal(size=(count, VECTOR_SIZE)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _read(films: Path, ratings: Path | None) -> tuple[Catalogue, FloatArray]:
    with films.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    counts: Counter[str] = Counter()
    if ratings is not None:
        with ratings.open(encoding="utf-8", newline="") as file:
            counts.update(row["movieId"] for row in csv.DictReader(file))
    items = [
        Item(
            row["movieId"],
            plain_title(row["title"])[0],
            attributes={"genres": tuple(row["genres"].split("|"))},
        )
        for row in rows
    ]
    return Catalogue(items), np.array([counts[i.item_id] for i in items], dtype=np.float32)


if __name__ == "__main__":
    main()
