"""``serendip bench spelling``: what one slip costs search, and what correcting costs clean queries.

Queries are searched as words alone, which is the part that spelling changes. ``kept`` is the mean
nDCG@10 of queries with a slip over that of the same queries without one; its interval is a
bootstrap over queries. ``changed`` is the share of all queries, as people typed them, of which
other letters were searched than those typed - whether or not they were misspelt; ``parted`` those
of which a word was searched as two. All are listed, with what they found before and after.

Numbers of the speller were chosen on every other query (``part`` "tuned on", by other slips); the
rest is ``held out``.

Slips of the finger, one per query, as a benchmark makes them: letter by letter, by a seed.

A word of four letters or more is drawn, then a place in it. Nothing of how a speller weighs slips
is read here: all places are alike, and a letter that is put in may be any.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from serendip.data.dataset import Dataset
from serendip.errors import ConfigError, DataError
from serendip.evaluate.intervals import bootstrap_means
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.searcher import Searcher
from serendip.search.understanding import Interpretation, read
from serendip_bench.datasets.esci import (
    JUDGEMENTS_FILE,
    PRODUCTS_FILE,
    read_judgements,
    read_products,
)
from serendip_bench.datasets.movielens import (
    FILMS_FILE,
    TAGS_FILE,
    build_searches,
    read_movielens,
    read_search_sets,
)
from serendip_bench.splits import RequestSet
from serendip_bench.work_folder import require_seeds

MIN_LETTERS = 4

_WORD = re.compile(f"[a-zA-Z]{{{MIN_LETTERS},}}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_TRIES = 20


def _neighbour(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_beside(word[at].lower())) + word[at + 1 :]


def _swapped(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]


def _left_out(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 :]


def _put_in(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_LETTERS) + word[at:]


def _doubled(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at] + word[at:]


KINDS: Mapping[str, Callable[[str, int, Random], str]] = {
    "neighbour": _neighbour,
    "transposition": _swapped,
    "deletion": _left_out,
    "insertion": _put_in,
    "doubling": _doubled,
}
"""Name -> (word, place, chance) -> the word with a slip."""


def misspelt(text: str, kind: str, seed: int) -> str | None:
    """A text with one slip; None where no word is long enough, or all letters are one.

    Args:
        text: as it was typed.
        kind: one of ``KINDS``.
        seed: the same text, kind and seed give the same slip.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"slip {kind!r}.", f"Known: {', '.join(KINDS)}.")
    random = Random(f"{seed} {kind} {text}")
    words = list(_WORD.finditer(text))
    for _ in range(_TRIES if words else 0):
        word = random.choice(words)
        slip = KINDS[kind](word.group(), random.randrange(len(word.group())), random)
        if slip.lower() != word.group().lower():
            return text[: word.start()] + slip + text[word.end() :]
    return None


def _beside(letter: str) -> str:
    """Letters whose keys touch this one's: left, right, and two above and below."""
    row = next(number for number, keys in enumerate(_KEYS) if letter in keys)
    at = _KEYS[row].index(letter)
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    places = [(row + down, at + right) for down, right in steps]
    return "".join(
        _KEYS[other][place]
        for other, place in places
        if 0 <= other < len(_KEYS) and 0 <= place < len(_KEYS[other])
    )


TOP = 10
PARTS = ("tuned on", "held out", "all")
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class SpellingBench:
    """What to run.

    Args:
        data: folder of films with tags, or of products with judgements.
        file: the results.
        seeds: slips of each kind per query.
    """

    data: Path
    file: Path
    seeds: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class SpellingQueries:
    """Queries to a searcher, with what they should find.

    Args:
        searcher: searches words alone.
        texts: (Q,) different queries.
        gains: per query item number -> gain above 0.
        dataset: the items, and what was done with them.
    """

    searcher: Searcher
    texts: Sequence[str]
    gains: Sequence[Mapping[int, float]]
    dataset: Dataset

    def ndcg(self, query: int, text: str, literal: bool = False) -> float:
        """N@10 of what ``text`` finds, as an answer to a query."""
        return self.found(query, text, literal)[0]

    def found(self, query: int, text: str, literal: bool = False) -> tuple[float, float]:
        """N@10 and R@10 of what ``text`` finds, as an answer to a query."""
        found = self.searcher.search(text, TOP, literal=literal).item_nums.tolist()
        gains = self.gains[query]
        best = sorted(gains.values(), reverse=True)[:TOP]
        ndcg = _discounted([gains.get(item, 0.0) for item in found]) / _discounted(best)
        return ndcg, sum(item in gains for item in found) / len(gains)


def run_spelling(
    bench: SpellingBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Measure, and write the results file anew.

    Returns:
        the document that the file holds.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written.
        DataError: the folder is of no kind that is known, or not as it should be.
    """
    require_seeds(bench.seeds)
    asking, files = spelling_queries(bench.data)
    values = _measured(asking, bench.seeds, options)
    document: dict[str, Any] = {
        "dataset": bench.data.resolve().name,
        "data": hash_files(files),
        "protocol": {"about": __doc__, "seeds": bench.seeds, "kinds": list(KINDS)},
        "queries": len(asking.texts),
        "items": asking.searcher.num_items,
        "rows": _rows(values),
        "clean": _clean(asking),
    }
    for row in document["rows"]:
        on_row(row)
    write_json(bench.file, document)
    return document


def spelling_queries(folder: Path) -> tuple[SpellingQueries, list[Path]]:
    """The queries of a folder to a searcher of its items, and the files that were read.

    Raises:
        DataError: the folder is of no kind that is known, or not as it should be.
    """
    dataset, asked, files = _read(folder)
    with tempfile.TemporaryDirectory() as scratch:  # Open files stay when their names are gone.
        return _asking(dataset, asked, Path(scratch) / "search"), files


def _read(folder: Path) -> tuple[Dataset, RequestSet, list[Path]]:
    if (folder / TAGS_FILE).exists():
        films = read_movielens(folder)
        asked = build_searches(read_search_sets(folder)["tags"], films.catalogue.vocabulary)
        return films, asked, [folder / FILMS_FILE, folder / TAGS_FILE]
    if (folder / JUDGEMENTS_FILE).exists():
        products = read_products(folder)
        asked = read_judgements(folder, products.catalogue.vocabulary)
        return products, asked, [folder / PRODUCTS_FILE, folder / JUDGEMENTS_FILE]
    raise DataError(f"{folder} holds neither {TAGS_FILE} nor {JUDGEMENTS_FILE}.", "See --data.")


def _asking(dataset: Dataset, asked: RequestSet, folder: Path) -> SpellingQueries:
    assert asked.relevance is not None
    gains: dict[str, dict[int, float]] = {}
    rows = zip(asked.queries, asked.items.tolist(), asked.relevance.gains.tolist(), strict=True)
    for query, item, gain in rows:
        gains.setdefault(query.text, {})
        if gain > 0:
            gains[query.text][item] = gain
    popularity = dataset.item_counts().astype(np.float32)
    searcher = Searcher.build(dataset.catalogue, popularity, folder)
    return SpellingQueries(searcher, list(gains), list(gains.values()), dataset)


def _measured(asking: SpellingQueries, seeds: int, options: TrainOptions) -> dict[str, Values]:
    """Kind -> (Q, 2): N@10 without and with a slip, mean over seeds; NaN where none is possible."""
    numbers = range(len(asking.texts))
    found = {kind: np.full((len(numbers), 2), np.nan) for kind in KINDS}
    for query in options.progress.track(numbers, "Queries", len(numbers)):
        text = asking.texts[query]
        clean = asking.ndcg(query, text)
        for kind in KINDS:
            slips = [misspelt(text, kind, seed) for seed in range(seeds)]
            kept = [asking.ndcg(query, slip) for slip in slips if slip is not None]
            if kept:
                found[kind][query] = clean, np.mean(kept)
    return found


def _rows(values: Mapping[str, Values]) -> list[dict[str, Any]]:
    """A row per part and kind where anything was found; ``all`` is a query's mean over kinds."""
    whole = np.mean(list(values.values()), axis=0)
    rows = []
    for part in PARTS:
        for kind, both in {"all": whole, **values}.items():
            own = both[_of_part(part, len(both))]
            own = own[~np.isnan(own[:, 1])]
            if not own[:, 0].any():
                continue
            means = bootstrap_means(own, seed=0)
            ends = np.percentile(means[:, 1] / means[:, 0], _TAILS)
            rows.append(
                {
                    "part": part,
                    "slip": kind,
                    "queries": len(own),
                    "N@10": float(own[:, 0].mean()),
                    "N@10 with a slip": float(own[:, 1].mean()),
                    "kept": float(own[:, 1].mean() / own[:, 0].mean()),
                    "ci95": [float(end) for end in ends],
                }
            )
    return rows


def _clean(asking: SpellingQueries) -> dict[str, Any]:
    """What happens to queries without a slip of the benchmark, per part, and which change."""
    searcher = asking.searcher
    before = time.process_time()
    readings = [
        read(text, searcher.titles, searcher.speller, searcher.config.confidence)
        for text in asking.texts
    ]
    read_ms = 1000 * (time.process_time() - before) / len(readings)
    marks = {
        "changed": [_letters(one.corrected_key) != _letters(one.key) for one in readings],
        "parted": [_is_parted(one) for one in readings],
        "told": [bool(one.told_key) for one in readings],
    }
    listed = [
        _changed(asking, query, reading.corrected_key)
        for query, reading in enumerate(readings)
        if reading.corrected_key != reading.key
    ]
    return {
        **{name: _shares(found) for name, found in marks.items()},
        "found more": sum(one["N@10"] > one["N@10 as typed"] for one in listed),
        "found less": sum(one["N@10"] < one["N@10 as typed"] for one in listed),
        "read_ms": round(read_ms, 3),
        "which": listed,
    }


def _letters(key: str) -> str:
    return key.replace(" ", "")


def _is_parted(reading: Interpretation) -> bool:
    corrected = reading.corrected_key
    return corrected != reading.key and _letters(corrected) == _letters(reading.key)


def _shares(found: Sequence[bool]) -> dict[str, float]:
    return {part: float(np.mean(found[_of_part(part, len(found))])) for part in PARTS}


def _changed(asking: SpellingQueries, query: int, searched: str) -> dict[str, Any]:
    text = asking.texts[query]
    return {
        "part": PARTS[query % 2],
        "query": text,
        "searched": searched,
        "N@10 as typed": round(asking.ndcg(query, text, literal=True), 4),
        "N@10": round(asking.ndcg(query, text), 4),
    }


def _of_part(part: str, count: int) -> slice:
    return slice(None) if part == "all" else slice(PARTS.index(part), count, 2)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / log2(rank + 2.0) for rank, gain in enumerate(gains))
