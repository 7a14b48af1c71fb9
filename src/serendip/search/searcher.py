"""Search as a whole: exact titles first, then the title that was meant, then words and meaning.

Order of an answer: items that bear exactly the searched title (by popularity), items that bear the
title one or two edits away, then the fusion of BM25 and cosine. A searcher never changes; posting
and deleting items gives a new one that shares everything built.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.item_list import ItemList
from serendip.errors import ArtefactError, DataError
from serendip.search.analysis import title_key
from serendip.search.documents import document_of
from serendip.search.fusion import reciprocal_rank_fusion
from serendip.search.lexical import LexicalConfig, LexicalIndex, word_counts
from serendip.search.spelling import Speller
from serendip.search.titles import TitleIndex
from serendip.search.understanding import Reading, read
from serendip.search.vector import VectorIndex, best_cosines

WORDS_FILE = "words.json"
EXACT = 1.0
CORRECTED = 0.9
MIN_COMPLETED = 3
_RATIO_WEIGHT = 0.8


class SearchConfig(Config):
    """How a text becomes one list."""

    lexical: LexicalConfig = Field(default_factory=LexicalConfig)
    """Fields and weights of the word index."""

    depth: PositiveInt = 300
    """Items taken from each of words and vectors before they are joined."""

    word_weight: NonNegativeFloat = 1.0
    """Weight of the BM25 list in the fusion."""

    vector_weight: NonNegativeFloat = 1.0
    """Weight of the cosine list in the fusion."""

    title_weight: NonNegativeFloat = 1.0
    """Weight of the list of titles that go on from the text."""


@dataclass(frozen=True, slots=True, eq=False)
class Searcher:
    """Finds items by text.

    Args:
        config: weights and depths.
        lexical: the word index.
        titles: whole titles.
        speller: the catalogue's vocabulary.
        vectors: content vectors; of size 0 where there are none.
        keys: normalised title by item number.
        deleted: item numbers that are never answered.
    """

    config: SearchConfig
    lexical: LexicalIndex
    titles: TitleIndex
    speller: Speller
    vectors: VectorIndex
    keys: Sequence[str]
    deleted: frozenset[int] = frozenset()

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        content_vectors: FloatArray,
        popularity: FloatArray,
        folder: Path,
        config: SearchConfig | None = None,
    ) -> Self:
        """Write the word index and vocabulary of a catalogue into ``folder`` and open them.

        Args:
            catalogue: N items.
            content_vectors: (N, D) float32 unit vectors; D may be 0.
            popularity: (N,) interactions per item.
            folder: created; not to be changed afterwards.
            config: weights and depths.
        """
        config = config or SearchConfig()
        LexicalIndex.build(catalogue, folder, config.lexical)
        document = {
            "keys": [title_key(item.title) for item in catalogue.items],
            "counts": word_counts(catalogue, config.lexical.fields),
        }
        (folder / WORDS_FILE).write_text(json.dumps(document), encoding="utf-8")
        return cls.open(folder, catalogue, content_vectors, popularity, config)

    @classmethod
    def open(
        cls,
        folder: Path,
        catalogue: Catalogue,
        content_vectors: FloatArray,
        popularity: FloatArray,
        config: SearchConfig | None = None,
    ) -> Self:
        """Read what ``build`` wrote for the same catalogue.

        Raises:
            ArtefactError: the folder holds no search index of this many items.
            DataError: vectors or popularity have another length than the catalogue.
        """
        count = len(catalogue)
        if len(content_vectors) != count or len(popularity) != count:
            raise DataError(
                f"{len(content_vectors)} vectors and {len(popularity)} popularities for "
                f"{count} items."
            )
        lexical = LexicalIndex.open(folder)
        try:
            document = json.loads((folder / WORDS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder} holds no readable vocabulary: {error}.") from None
        keys = document["keys"]
        if len(keys) != count or lexical.statistics.num_documents != count:
            raise ArtefactError(f"{folder} indexes {len(keys)} items, the catalogue has {count}.")
        titles = TitleIndex.of(catalogue.items, popularity, keys)
        speller = Speller.of(document["counts"])
        vectors = VectorIndex.of(content_vectors)
        searcher = cls(config or SearchConfig(), lexical, titles, speller, vectors, keys)
        # The first search pays for imports and page faults; better here than in a request.
        searcher.search("warm up", None, 1)
        return searcher

    @property
    def num_items(self) -> int:
        """Items known, deleted ones included: numbers are never used again."""
        return len(self.keys)

    def with_items(self, items: Sequence[Item], content_vectors: FloatArray) -> Self:
        """A copy that also finds new items, numbered after the old ones.

        Args:
            items: P items.
            content_vectors: (P, D) float32 unit vectors.

        Raises:
            DataError: lengths or sizes differ.
        """
        if len(content_vectors) != len(items):
            raise DataError(f"{len(content_vectors)} vectors for {len(items)} items.")
        first = self.num_items
        documents = [document_of(item, self.config.lexical.fields) for item in items]
        found = {word for one in documents for word in (*one.title, *one.body)}
        return replace(
            self,
            lexical=self.lexical.with_items(items, first),
            titles=self.titles.with_items(items, first),
            speller=self.speller.with_words(found),
            vectors=self.vectors.with_vectors(content_vectors),
            keys=[*self.keys, *(title_key(item.title) for item in items)],
        )

    def without_items(self, item_nums: Iterable[int]) -> Self:
        """A copy that never answers these items."""
        gone = frozenset(int(number) for number in item_nums)
        return replace(
            self,
            lexical=self.lexical.without_items(gone),
            titles=self.titles.without_items(gone),
            deleted=self.deleted | gone,
        )

    def read(self, text: str) -> Reading:
        """Understand a text against the catalogue's titles and words."""
        return read(text, self.titles, self.speller)

    def corrected(self, text: str) -> str:
        """What was probably meant, as the title is written; empty where nothing is to correct."""
        reading = self.read(text)
        if reading.corrected_key == reading.key:
            return ""
        bearers = self.titles.bearers(reading.corrected_key)
        return bearers[0].title if bearers else reading.corrected_key

    def search(
        self,
        text: str,
        text_vector: FloatArray | None,
        k: int,
        allowed: BoolArray | None = None,
    ) -> ItemList:
        """The k best items for a text.

        Args:
            text: anything; blank finds nothing.
            text_vector: (D,) unit vector of the text; None = search by words only.
            k: at most this many; below 1 gives none.
            allowed: (N,) bool by item number; None = all that are not deleted.

        Returns:
            items best first with the fields ``bm25`` (0 where not among the ``depth`` best hits),
            ``cosine`` (0 without a vector) and ``title_match`` (1 exact, .9 corrected, else .8
            times the similarity of the whole title). Scores fall strictly by these groups.
        """
        reading = self.read(text)
        if k < 1 or not reading.key:
            return _nothing()
        words = self.lexical.search(reading.corrected_key, self.config.depth, allowed)
        cosines = self._cosines(text_vector)
        meaning = ItemList()
        if text_vector is not None and cosines.any():
            meaning = best_cosines(cosines, self.config.depth, self._mask(allowed))
        going_on = self._going_on(reading.corrected_key, allowed)
        weights = (self.config.word_weight, self.config.vector_weight, self.config.title_weight)
        fused = reciprocal_rank_fusion((words, meaning, going_on), self.num_items, weights)
        return self._answer(reading, words, fused, cosines, k, allowed)

    def _answer(
        self,
        reading: Reading,
        words: ItemList,
        fused: ItemList,
        cosines: FloatArray,
        k: int,
        allowed: BoolArray | None,
    ) -> ItemList:
        """Put exact and corrected titles before the fused list and fill the fields."""
        titled: dict[int, float] = dict.fromkeys(reading.exact.tolist(), EXACT)
        for number in reading.corrected.tolist():
            titled.setdefault(number, CORRECTED)
        if allowed is not None:
            titled = {n: match for n, match in titled.items() if _is_allowed(n, allowed)}
        rest = [number for number in fused.item_nums.tolist() if number not in titled]
        numbers = np.asarray([*titled, *rest][:k], dtype=np.int32)
        scores = _values(fused, numbers)
        matches = np.asarray([titled.get(n, 0.0) for n in numbers.tolist()], dtype=np.float32)
        lead = np.arange(len(titled), 0, -1, dtype=np.float32)[: len(numbers)]
        scores[: len(lead)] = fused.scores.max(initial=0.0) + lead
        others = numbers[len(lead) :].tolist()
        matches[len(lead) :] = self._ratios(reading.corrected_key, others)
        fields = {
            "bm25": _values(words, numbers),
            "cosine": cosines[numbers],
            "title_match": matches,
        }
        return ItemList(numbers, scores, fields)

    def _cosines(self, text_vector: FloatArray | None) -> FloatArray:
        if text_vector is None or self.vectors.built.shape[1] == 0:
            return np.zeros(self.num_items, dtype=np.float32)
        return self.vectors.cosines(text_vector)

    def _going_on(self, key: str, allowed: BoolArray | None) -> ItemList:
        """Items whose title goes on from the text, most popular first."""
        if len(key) < MIN_COMPLETED:
            return ItemList()
        found = self.titles.completions(key, self.config.depth)
        numbers = [one.item_num for one in found if _is_allowed(one.item_num, allowed)]
        return ItemList.of(numbers, [1.0 / rank for rank in range(1, len(numbers) + 1)])

    def _mask(self, allowed: BoolArray | None) -> BoolArray | None:
        if allowed is None and not self.deleted:
            return None
        mask = np.full(self.num_items, allowed is None, dtype=np.bool_)
        if allowed is not None:
            mask[: len(allowed)] = allowed[: self.num_items]
        mask[[number for number in self.deleted if number < self.num_items]] = False
        return mask

    def _ratios(self, key: str, numbers: Sequence[int]) -> FloatArray:
        """Similarity of whole titles, 0 to .8."""
        from rapidfuzz.fuzz import ratio

        weight = _RATIO_WEIGHT / 100.0
        return np.asarray([weight * ratio(key, self.keys[n]) for n in numbers], dtype=np.float32)


def _nothing() -> ItemList:
    none = np.empty(0, dtype=np.float32)
    return ItemList(fields={"bm25": none, "cosine": none, "title_match": none})


def _is_allowed(number: int, allowed: BoolArray | None) -> bool:
    return allowed is None or (number < len(allowed) and bool(allowed[number]))


def _values(source: ItemList, numbers: IntArray) -> FloatArray:
    """Scores of ``numbers`` in a list; 0 for those not in it."""
    found = dict(zip(source.item_nums.tolist(), source.scores.tolist(), strict=True))
    return np.asarray([found.get(number, 0.0) for number in numbers.tolist()], dtype=np.float32)
