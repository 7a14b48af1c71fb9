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
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from serendip.data.dataset import Dataset
from serendip.errors import DataError
from serendip.evaluate.intervals import bootstrap_means
from serendip.evaluate.metrics import NDCG, Recall, grade
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.searcher import Searcher
from serendip_bench.datasets.movielens import (
    FILMS_FILE,
    TAGS_FILE,
    build_searches,
    read_movielens,
    read_search_sets,
)
from serendip_bench.datasets.products import (
    JUDGEMENTS_FILE,
    PRODUCT_FILES,
    read_judgements,
    read_products,
)
from serendip_bench.results import require_seeds

TOP = 10
PARTS = ("tuned on", "held out", "all")
_TAILS = (2.5, 97.5)

_WORD = re.compile("[a-zA-Z]{4,}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_TRIES = 20


def _list_neighbouring_keys(letter: str) -> str:
    """Letters on adjacent keys: left, right, and two above and below."""
    row = next(number for number, keys in enumerate(_KEYS) if letter in keys)
    column = _KEYS[row].index(letter)
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    places = [(row + down, column + right) for down, right in steps]
    return "".join(
        _KEYS[down][right]
        for down, right in places
        if 0 <= down < len(_KEYS) and 0 <= right < len(_KEYS[down])
    )


KINDS: Mapping[str, Callable[[str, int, Random], str]] = {
    "neighbour": lambda word, at, random: (
        word[:at] + random.choice(_list_neighbouring_keys(word[at].lower())) + word[at + 1 :]
    ),
    "transposition": lambda word, at, random: (
        word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    ),
    "deletion": lambda word, at, random: word[:at] + word[at + 1 :],
    "insertion": lambda word, at, random: word[:at] + random.choice(_LETTERS) + word[at:],
    "doubling": lambda word, at, random: word[:at] + word[at] + word[at:],
}
"""Kind of typo -> function of word, position and random generator -> misspelt word."""


def misspell(text: str, kind: str, seed: int) -> str | None:
    """Add a typo to a text; None if no word is long enough or no drawn typo changes it.

    Args:
        text: original query.
        kind: of typo, one of ``KINDS``.
        seed: the same text, kind and seed give the same typo.
    """
    random = Random(f"{seed} {kind} {text}")
    words = list(_WORD.finditer(text))
    for _ in range(_TRIES if words else 0):
        word = random.choice(words)
        misspelt = KINDS[kind](word.group(), random.randrange(len(word.group())), random)
        if misspelt.lower() != word.group().lower():
            return text[: word.start()] + misspelt + text[word.end() :]
    return None


@dataclass(frozen=True, slots=True, eq=False)
class JudgedQueries:
    """Queries with relevance gains, and a searcher of the items.

    Args:
        texts: Q distinct queries.
        gains: per query, item number -> gain above 0.
    """

    searcher: Searcher
    texts: Sequence[str]
    gains: Sequence[Mapping[Hashable, float]]
    dataset: Dataset
    files: Sequence[Path]

    @classmethod
    def read(cls, folder: Path) -> JudgedQueries:
        """Read the queries of a folder and index its items.

        Raises:
            DataError: the kind of folder is unknown, or its data invalid.
        """
        if (folder / TAGS_FILE).exists():
            dataset, files = read_movielens(folder), (FILMS_FILE, TAGS_FILE)
            tags = read_search_sets(folder)["tags"]
            requests = build_searches(tags, dataset.catalogue.vocabulary)
        elif (folder / JUDGEMENTS_FILE).exists():
            dataset, files = read_products(folder), PRODUCT_FILES
            requests = read_judgements(folder, dataset.catalogue.vocabulary)
        else:
            needed = f"{TAGS_FILE} nor {JUDGEMENTS_FILE}"
            raise DataError(f"{folder} has neither {needed}.", "Check the folder of --data.")
        gains: dict[str, dict[Hashable, float]] = {}
        columns = requests.queries, requests.items.tolist(), requests.gains.tolist()
        for query, item, gain in zip(*columns, strict=True):
            gains.setdefault(query.text, {})
            if gain > 0:
                gains[query.text][item] = gain
        popularity = dataset.item_counts().astype(np.float32)
        with tempfile.TemporaryDirectory() as scratch:  # An open index outlives its folder.
            searcher = Searcher.build(dataset.catalogue, popularity, Path(scratch) / "search")
        paths = [folder / name for name in files]
        return cls(searcher, list(gains), list(gains.values()), dataset, paths)

    def measure(self, query: int, text: str, literal: bool = False) -> tuple[float, float]:
        """nDCG@10 and recall@10 of the results of ``text`` by the gains of a query."""
        items = self.searcher.search(text, TOP, literal=literal).item_nums.tolist()
        graded = grade(items, self.gains[query])
        return NDCG(TOP).of_list(graded), Recall(TOP).of_list(graded)


@dataclass(frozen=True, slots=True)
class SpellingBench:
    """Settings of a run.

    Args:
        seeds: number of typos of each kind per query.
    """

    data: Path
    file: Path
    seeds: int = 3


def run_spelling(bench: SpellingBench, options: TrainOptions) -> dict[str, Any]:
    """Measure, and overwrite the results file.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written.
        DataError: the kind of folder is unknown, or its data invalid.
    """
    require_seeds(bench.seeds)
    queries = JudgedQueries.read(bench.data)
    document: dict[str, Any] = {
        "dataset": bench.data.resolve().name,
        "data": hash_files(queries.files),
        "protocol": {"about": __doc__, "seeds": bench.seeds, "kinds": list(KINDS)},
        "queries": len(queries.texts),
        "items": queries.searcher.num_items,
        "rows": _summarise(_measure_typos(queries, bench.seeds, options)),
        "clean": _measure_clean(queries),
    }
    write_json(bench.file, document)
    return document


def _measure_typos(queries: JudgedQueries, seeds: int, options: TrainOptions) -> dict[str, Values]:
    """Kind -> (Q, 2) N@10 without and with a typo, mean over seeds; NaN if no typo is possible."""
    values = {kind: np.full((len(queries.texts), 2), np.nan) for kind in KINDS}
    texts = options.progress.track(queries.texts, "Queries", len(queries.texts))
    for number, text in enumerate(texts):
        clean, _ = queries.measure(number, text)
        for kind in KINDS:
            misspelt = filter(None, (misspell(text, kind, seed) for seed in range(seeds)))
            typos = [queries.measure(number, typo)[0] for typo in misspelt]
            if typos:
                values[kind][number] = clean, np.mean(typos)
    return values


def _summarise(values: Mapping[str, Values]) -> list[dict[str, Any]]:
    """A row per part and kind with a relevant result; ``all`` is the mean over kinds per query."""
    kinds = {"all": np.mean(list(values.values()), axis=0), **values}
    rows = []
    for part in PARTS:
        for kind, kind_values in kinds.items():
            chosen = kind_values[_slice_part(part, len(kind_values))]
            chosen = chosen[~np.isnan(chosen[:, 1])]
            if not chosen[:, 0].any():
                continue
            means = bootstrap_means(chosen, seed=0)
            clean, misspelt = chosen.mean(axis=0).tolist()
            row = {"part": part, "slip": kind, "queries": len(chosen), "N@10": clean}
            ends = np.percentile(means[:, 1] / means[:, 0], _TAILS).tolist()
            rows.append(
                {**row, "N@10 with a slip": misspelt, "kept": misspelt / clean, "ci95": ends}
            )
    return rows


def _measure_clean(queries: JudgedQueries) -> dict[str, Any]:
    """Effect of correction on original queries, per part, and the list of corrected queries."""
    start = time.process_time()
    read = [queries.searcher.reader.read(text) for text in queries.texts]
    read_ms = 1000 * (time.process_time() - start) / len(read)
    pairs = [(one.key, one.corrected_key) for one in read]
    changed = [_join_letters(before) != _join_letters(after) for before, after in pairs]
    marks = {
        "changed": changed,
        "parted": [a != b and not other for (a, b), other in zip(pairs, changed, strict=True)],
        "told": [bool(one.told_key) for one in read],
    }
    corrected: list[dict[str, Any]] = [
        {
            "part": PARTS[number % 2],
            "query": text,
            "searched": after,
            "N@10 as typed": round(queries.measure(number, text, literal=True)[0], 4),
            "N@10": round(queries.measure(number, text)[0], 4),
        }
        for number, (text, (before, after)) in enumerate(zip(queries.texts, pairs, strict=True))
        if before != after
    ]
    return {
        **{name: _mean_by_part(flags) for name, flags in marks.items()},
        "found more": sum(row["N@10"] > row["N@10 as typed"] for row in corrected),
        "found less": sum(row["N@10"] < row["N@10 as typed"] for row in corrected),
        "read_ms": round(read_ms, 3),
        "which": corrected,
    }


def _join_letters(key: str) -> str:
    return key.replace(" ", "")


def _mean_by_part(flags: Sequence[bool]) -> dict[str, float]:
    return {part: float(np.mean(flags[_slice_part(part, len(flags))])) for part in PARTS}


def _slice_part(part: str, count: int) -> slice:
    return slice(None) if part == "all" else slice(PARTS.index(part), count, 2)
