"""Keywords of items by rules: words of queries, and words that near items have in common.

First come words of past queries after which the item was chosen, then words that several of its
nearest items by text vectors have in their titles or lists (genres, a category path), weighted by
cosine and inverse document frequency. Words of the item itself and words of many items are left
out.

Many items are dealt to tasks of an executor. A task maps items and vectors from files; the keywords
of an item are the same in any of them.

Shapes: N items, C size of a text vector.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.items.catalogue import Catalogue, Item, open_catalogue, save_catalogue
from serendip.data.rows.strings import map_array
from serendip.data.text import tokens
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder

ITEMS_PER_TASK = 8_192
"""Some ten seconds of work; a process begins by reading the words of all items."""

_VECTORS, _QUERIES = "vectors.npy", "queries.json"

_NUM_DONORS = 20
_SHARPNESS = 4
"""Exponent of the cosine in the weight of a donor's words."""
_MIN_DONORS = 3
_MAX_SHARE = 0.1
"""Words that more than this share of the items can donate are left out."""
_MAX_WORDS = 12
_MIN_LETTERS = 3


@dataclass(frozen=True, slots=True, eq=False)
class RulesWriter:
    """Writes keywords for items of one catalogue.

    Args:
        items: N items.
        vectors: (N, C) unit vectors of their texts; zero for an empty text.
        queries: item number -> normalised queries that keywords may be taken from.
        donated: words of the title and lists of each item.
        idf: word that may be donated -> its inverse document frequency.
    """

    items: Sequence[Item]
    vectors: FloatArray
    queries: Mapping[int, Sequence[str]]
    donated: Sequence[frozenset[str]]
    idf: Mapping[str, float]

    @classmethod
    def of(
        cls, items: Sequence[Item], vectors: FloatArray, queries: Mapping[int, Sequence[str]]
    ) -> Self:
        """Collect the words that may be donated."""
        donated = [_donated_words(item) for item in items]
        counts = Counter(chain.from_iterable(donated))
        limit = max(_MAX_SHARE * len(items), _MIN_DONORS)
        idf = {
            word: math.log(len(items) / count)
            for word, count in counts.items()
            if _MIN_DONORS <= count <= limit and len(word) >= _MIN_LETTERS and word.isalpha()
        }
        return cls(items, vectors, queries, donated, idf)

    def keywords(self, number: int) -> str:
        """Keywords of an item, best first, joined by commas; may be empty."""
        item = self.items[number]
        item_words = set(tokens(item.text(("title", "description", *item.attributes))))
        words = dict.fromkeys(
            word
            for text in self.queries.get(number, ())
            for word in tokens(text)
            if len(word) >= _MIN_LETTERS
        )
        words.update(dict.fromkeys(self._rank_donated_words(number)))
        return ", ".join([word for word in words if word not in item_words][:_MAX_WORDS])

    def _rank_donated_words(self, number: int) -> list[str]:
        """Words that at least ``_MIN_DONORS`` of the nearest items have, by descending weight."""
        cosines = self.vectors @ self.vectors[number]
        cosines[number] = -1.0
        count = min(_NUM_DONORS, len(cosines) - 1)
        near = np.argpartition(-cosines, count)[:count]
        weights: defaultdict[str, float] = defaultdict(float)
        donors: Counter[str] = Counter()
        for donor in near[cosines[near] > 0].tolist():
            for word in self.donated[donor]:
                if word in self.idf:
                    weights[word] += float(cosines[donor]) ** _SHARPNESS * self.idf[word]
                    donors[word] += 1
        shared = [word for word in weights if donors[word] >= _MIN_DONORS]
        return sorted(shared, key=lambda word: (-weights[word], word))


def _donated_words(item: Item) -> frozenset[str]:
    """Words of the title and of attributes that are lists."""
    lists = [name for name, value in item.attributes.items() if isinstance(value, tuple)]
    return frozenset(tokens(" ".join(map(item.field_text, ("title", *lists)))))


@dataclass(frozen=True, slots=True)
class KeywordTask:
    """Items of one task.

    Args:
        folder: has all items, their vectors and queries.
        numbers: of the items to write for.
    """

    folder: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"the keywords of {len(self.numbers):,} items"


def write_keywords(
    catalogue: Catalogue,
    vectors: FloatArray,
    queries: Mapping[int, Sequence[str]],
    numbers: Sequence[int],
    options: TrainOptions,
) -> Iterator[str]:
    """Keywords of some items, in their order; an item may have none.

    Args:
        catalogue: N items.
        vectors: (N, C) unit vectors of their texts; zero for an empty text.
        queries: item number -> normalised queries that keywords may be taken from.
        numbers: of the items to write for.
        options: the executor, and the folder that its workers see.

    Raises:
        SerendipError: a task was killed.
    """
    if options.executor.workers == 1 or options.shared is None or len(numbers) <= ITEMS_PER_TASK:
        yield from map(RulesWriter.of(catalogue.items, vectors, queries).keywords, numbers)
        return
    with scratch_folder(options.shared) as folder:
        save_catalogue(catalogue, folder)
        np.save(folder / _VECTORS, vectors, allow_pickle=False)
        (folder / _QUERIES).write_text(json.dumps(list(queries.items())), encoding="utf-8")
        tasks = [
            KeywordTask(str(folder), tuple(numbers[begin : begin + ITEMS_PER_TASK]))
            for begin in range(0, len(numbers), ITEMS_PER_TASK)
        ]
        for written in options.executor.map(write_part, tasks):
            yield from written


def write_part(task: KeywordTask) -> list[str]:
    """Keywords of the items of a task."""
    folder = Path(task.folder)
    queries = dict(json.loads((folder / _QUERIES).read_text(encoding="utf-8")))
    vectors = map_array(folder / _VECTORS)
    writer = RulesWriter.of(open_catalogue(folder).items, vectors, queries)
    return list(map(writer.keywords, task.numbers))
