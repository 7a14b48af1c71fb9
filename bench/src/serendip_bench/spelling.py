"""``serendip bench spelling``: the effect of a typo on search, and of correction on clean queries.

Search is lexical, which is the part that spelling changes. ``kept`` is the mean nDCG@10 of queries
with a typo, divided by that of the same queries without one, with a bootstrap interval over
queries. ``changed`` is the share of original queries that are searched with other letters than
typed, misspelt or not; ``parted`` the share with a word split in two; ``told`` the share with a
suggested correction. All corrected queries are listed, with nDCG@10 as typed and corrected.

Constants of the speller were tuned on every other query (``part`` "tuned on", with other typos);
the rest is ``held out``.

Each query gets one random typo: a word of four letters or more is drawn, then a position in it.
Typos are independent of the typo model of the speller: all positions are equally likely, and
inserted letters are uniform.

Shapes: Q queries.
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
from serendip.search.understanding import Interpretation
from serendip_bench.datasets.movielens import (
    FILMS_FILE,
    TAGS_FILE,
    build_searches,
    read_movielens,
    read_search_sets,
)
from serendip_bench.datasets.products import (
    JUDGEMENTS_FILE,
    PRODUCTS_FILE,
    read_judgements,
    read_products,
)
from serendip_bench.ranking.requests import RequestSet
from serendip_bench.results import require_seeds

MIN_LETTERS = 4

_WORD = re.compile(f"[a-zA-Z]{{{MIN_LETTERS},}}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_TRIES = 20


def _replace_by_neighbour(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_list_neighbouring_keys(word[at].lower())) + word[at + 1 :]


def _swap(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]


def _delete(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 :]


def _insert(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_LETTERS) + word[at:]


def _double(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at] + word[at:]


KINDS: Mapping[str, Callable[[str, int, Random], str]] = {
    "neighbour": _replace_by_neighbour,
    "transposition": _swap,
    "deletion": _delete,
    "insertion": _insert,
    "doubling": _double,
}
"""Kind of typo -> function of word, position and random generator -> misspelt word."""


def misspell(text: str, kind: str, seed: int) -> str | None:
    """Add a typo to a text; None if no word is long enough or no drawn typo changes it.

    Args:
        text: original query.
        kind: of typo, one of ``KINDS``.
        seed: the same text, kind and seed give the same typo.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind of typo {kind!r}.", f"Known: {', '.join(KINDS)}.")
    random = Random(f"{seed} {kind} {text}")
    words = list(_WORD.finditer(text))
    for _ in range(_TRIES if words else 0):
        word = random.choice(words)
        misspelt_word = KINDS[kind](word.group(), random.randrange(len(word.group())), random)
        if misspelt_word.lower() != word.group().lower():
            return text[: word.start()] + misspelt_word + text[word.end() :]
    return None


def _list_neighbouring_keys(letter: str) -> str:
    """Letters on adjacent keys: left, right, and two above and below."""
    row = next(number for number, keys in enumerate(_KEYS) if letter in keys)
    column = _KEYS[row].index(letter)
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    positions = [(row + step_down, column + step_right) for step_down, step_right in steps]
    return "".join(
        _KEYS[other_row][other_column]
        for other_row, other_column in positions
        if 0 <= other_row < len(_KEYS) and 0 <= other_column < len(_KEYS[other_row])
    )


TOP = 10
PARTS = ("tuned on", "held out", "all")
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class SpellingBench:
    """Settings of a run.

    Args:
        data: folder of films with tags, or of products with judgements.
        file: the results.
        seeds: number of typos of each kind per query.
    """

    data: Path
    file: Path
    seeds: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class SpellingQueries:
    """Queries with relevance gains, and a searcher of the items.

    Args:
        searcher: lexical.
        texts: Q distinct queries.
        gains: per query, item number -> gain above 0.
        dataset: items and events.
    """

    searcher: Searcher
    texts: Sequence[str]
    gains: Sequence[Mapping[int, float]]
    dataset: Dataset

    def measure_ndcg(self, query: int, text: str, literal: bool = False) -> float:
        """N@10 of the results of ``text`` by the gains of a query."""
        return self.measure(query, text, literal)[0]

    def measure(self, query: int, text: str, literal: bool = False) -> tuple[float, float]:
        """N@10 and R@10 of the results of ``text`` by the gains of a query."""
        items = self.searcher.search(text, TOP, literal=literal).item_nums.tolist()
        gains = self.gains[query]
        best = sorted(gains.values(), reverse=True)[:TOP]
        ndcg = _compute_dcg([gains.get(item, 0.0) for item in items]) / _compute_dcg(best)
        return ndcg, sum(item in gains for item in items) / len(gains)


def run_spelling(
    bench: SpellingBench,
    options: TrainOptions,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Measure, and overwrite the results file.

    Returns:
        the document of the file.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written.
        DataError: the kind of folder is unknown, or its data invalid.
    """
    require_seeds(bench.seeds)
    queries, files = open_spelling_queries(bench.data)
    values = _measure_typos(queries, bench.seeds, options)
    document: dict[str, Any] = {
        "dataset": bench.data.resolve().name,
        "data": hash_files(files),
        "protocol": {"about": __doc__, "seeds": bench.seeds, "kinds": list(KINDS)},
        "queries": len(queries.texts),
        "items": queries.searcher.num_items,
        "rows": _summarise(values),
        "clean": _measure_clean(queries),
    }
    for row in document["rows"]:
        on_row(row)
    write_json(bench.file, document)
    return document


def open_spelling_queries(folder: Path) -> tuple[SpellingQueries, list[Path]]:
    """Read the queries of a folder and index its items; returns the input files as well.

    Raises:
        DataError: the kind of folder is unknown, or its data invalid.
    """
    dataset, requests, files = _read(folder)
    with tempfile.TemporaryDirectory() as scratch:  # An open index outlives its folder.
        return _build_queries(dataset, requests, Path(scratch) / "search"), files


def _read(folder: Path) -> tuple[Dataset, RequestSet, list[Path]]:
    if (folder / TAGS_FILE).exists():
        films = read_movielens(folder)
        requests = build_searches(read_search_sets(folder)["tags"], films.catalogue.vocabulary)
        return films, requests, [folder / FILMS_FILE, folder / TAGS_FILE]
    if (folder / JUDGEMENTS_FILE).exists():
        products = read_products(folder)
        requests = read_judgements(folder, products.catalogue.vocabulary)
        return products, requests, [folder / PRODUCTS_FILE, folder / JUDGEMENTS_FILE]
    raise DataError(
        f"{folder} has neither {TAGS_FILE} nor {JUDGEMENTS_FILE}.", "Check the folder of --data."
    )


def _build_queries(dataset: Dataset, requests: RequestSet, folder: Path) -> SpellingQueries:
    gains: dict[str, dict[int, float]] = {}
    rows = zip(requests.queries, requests.items.tolist(), requests.gains.tolist(), strict=True)
    for query, item, gain in rows:
        gains.setdefault(query.text, {})
        if gain > 0:
            gains[query.text][item] = gain
    popularity = dataset.item_counts().astype(np.float32)
    searcher = Searcher.build(dataset.catalogue, popularity, folder)
    return SpellingQueries(searcher, list(gains), list(gains.values()), dataset)


def _measure_typos(
    queries: SpellingQueries, seeds: int, options: TrainOptions
) -> dict[str, Values]:
    """Kind -> (Q, 2) N@10 without and with a typo, mean over seeds; NaN if no typo is possible."""
    numbers = range(len(queries.texts))
    values = {kind: np.full((len(numbers), 2), np.nan) for kind in KINDS}
    for number in options.progress.track(numbers, "Queries", len(numbers)):
        text = queries.texts[number]
        clean = queries.measure_ndcg(number, text)
        for kind in KINDS:
            misspelt_texts = [misspell(text, kind, seed) for seed in range(seeds)]
            typo_values = [
                queries.measure_ndcg(number, misspelt_text)
                for misspelt_text in misspelt_texts
                if misspelt_text is not None
            ]
            if typo_values:
                values[kind][number] = clean, np.mean(typo_values)
    return values


def _summarise(values: Mapping[str, Values]) -> list[dict[str, Any]]:
    """A row per part and kind with a relevant result; ``all`` is the mean over kinds per query."""
    mean_values = np.mean(list(values.values()), axis=0)  # (Q, 2)
    rows = []
    for part in PARTS:
        for kind, kind_values in {"all": mean_values, **values}.items():
            part_values = kind_values[_slice_part(part, len(kind_values))]
            part_values = part_values[~np.isnan(part_values[:, 1])]
            if not part_values[:, 0].any():
                continue
            means = bootstrap_means(part_values, seed=0)
            ends = np.percentile(means[:, 1] / means[:, 0], _TAILS)
            rows.append(
                {
                    "part": part,
                    "slip": kind,
                    "queries": len(part_values),
                    "N@10": float(part_values[:, 0].mean()),
                    "N@10 with a slip": float(part_values[:, 1].mean()),
                    "kept": float(part_values[:, 1].mean() / part_values[:, 0].mean()),
                    "ci95": [float(end) for end in ends],
                }
            )
    return rows


def _measure_clean(queries: SpellingQueries) -> dict[str, Any]:
    """Effect of correction on original queries, per part, and the list of corrected queries."""
    searcher = queries.searcher
    start = time.process_time()
    interpretations = [searcher.reader.read(text) for text in queries.texts]
    read_ms = 1000 * (time.process_time() - start) / len(interpretations)
    marks = {
        "changed": [
            _join_letters(interpretation.corrected_key) != _join_letters(interpretation.key)
            for interpretation in interpretations
        ],
        "parted": [_is_split(interpretation) for interpretation in interpretations],
        "told": [bool(interpretation.told_key) for interpretation in interpretations],
    }
    corrected = [
        _describe_correction(queries, number, interpretation.corrected_key)
        for number, interpretation in enumerate(interpretations)
        if interpretation.corrected_key != interpretation.key
    ]
    return {
        **{name: _mean_by_part(flags) for name, flags in marks.items()},
        "found more": sum(entry["N@10"] > entry["N@10 as typed"] for entry in corrected),
        "found less": sum(entry["N@10"] < entry["N@10 as typed"] for entry in corrected),
        "read_ms": round(read_ms, 3),
        "which": corrected,
    }


def _join_letters(key: str) -> str:
    return key.replace(" ", "")


def _is_split(interpretation: Interpretation) -> bool:
    corrected_key = interpretation.corrected_key
    return corrected_key != interpretation.key and _join_letters(corrected_key) == _join_letters(
        interpretation.key
    )


def _mean_by_part(flags: Sequence[bool]) -> dict[str, float]:
    return {part: float(np.mean(flags[_slice_part(part, len(flags))])) for part in PARTS}


def _describe_correction(
    queries: SpellingQueries, query: int, corrected_key: str
) -> dict[str, Any]:
    text = queries.texts[query]
    return {
        "part": PARTS[query % 2],
        "query": text,
        "searched": corrected_key,
        "N@10 as typed": round(queries.measure_ndcg(query, text, literal=True), 4),
        "N@10": round(queries.measure_ndcg(query, text), 4),
    }


def _slice_part(part: str, count: int) -> slice:
    return slice(None) if part == "all" else slice(PARTS.index(part), count, 2)


def _compute_dcg(gains: Sequence[float]) -> float:
    return sum(gain / log2(rank + 2.0) for rank, gain in enumerate(gains))
