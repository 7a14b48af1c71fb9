"""Search as a whole: exact titles first, then the title that was meant, then words.

Order of an answer: items that bear exactly the searched title (by popularity), items that bear the
title one or two edits away, then the fusion of BM25 and of titles that go on from the text. What
is meant and not said is the retriever's business. A searcher never changes; posting and deleting
items gives a new one that shares everything built.

The order of a search's answer: exact titles, titles that were meant, then the fused list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.item_list import ItemList
from serendip.data.text import title_key
from serendip.errors import ArtefactError, DataError
from serendip.search.config import SearchConfig
from serendip.search.documents import document_of
from serendip.search.lexical import LexicalIndex, is_allowed, word_counts, written_words
from serendip.search.rank_fusion import reciprocal_rank_fusion
from serendip.search.rewrites.candidates import CatalogueMatcher
from serendip.search.rewrites.table import Rewrite, RewriteTable, rewrites_of
from serendip.search.spelling.speller import Speller
from serendip.search.spelling.word_statistics import WordPairs, english_word_frequencies
from serendip.search.synonyms import Synonyms
from serendip.search.titles import TitleIndex
from serendip.search.understanding import (
    CORRECTED,
    EXACT,
    Interpretation,
    read,
    read_literally,
    with_rewrite,
)

RATIO_WEIGHT = 0.8
"""``title_match`` of a title that is no exact or corrected match is at most this."""


def order_results(
    reading: Interpretation,
    words: ItemList,
    fused: ItemList,
    keys: Sequence[str],
    allowed: BoolArray | None,
) -> ItemList:
    """Put the titles of ``reading`` before ``fused`` and fill the fields that tell why.

    Args:
        reading: how the text was understood.
        words: BM25 hits.
        fused: all other hits, best first.
        keys: normalised titles by item number.
        allowed: (N,) bool; only these titles are put first.

    Returns:
        all items with ``bm25`` and ``title_match``; scores never rise.
    """
    titled: dict[int, float] = dict.fromkeys(reading.exact.tolist(), EXACT)
    for number in reading.corrected.tolist():
        titled.setdefault(number, CORRECTED)
    titled = {n: match for n, match in titled.items() if is_allowed(n, allowed)}
    rest = [number for number in fused.item_nums.tolist() if number not in titled]
    numbers = np.asarray([*titled, *rest], dtype=np.int32)
    scores = _scores_in(fused, numbers)
    lead = np.arange(len(titled), 0, -1, dtype=np.float32)
    scores[: len(lead)] = fused.scores.max(initial=0.0) + lead
    likeness = _likeness(reading.corrected_key, [keys[number] for number in rest])
    matches = np.concatenate([np.asarray(list(titled.values()), dtype=np.float32), likeness])
    fields = {"bm25": _scores_in(words, numbers), "title_match": matches}
    return ItemList(numbers, scores, fields)


def empty_result() -> ItemList:
    """An empty answer with its fields."""
    none = np.empty(0, dtype=np.float32)
    return ItemList(fields={"bm25": none, "title_match": none})


def _scores_in(source: ItemList, numbers: IntArray) -> FloatArray:
    """Scores of ``numbers`` in a list; 0 for those not in it."""
    found = dict(zip(source.item_nums.tolist(), source.scores.tolist(), strict=True))
    return np.asarray([found.get(number, 0.0) for number in numbers.tolist()], dtype=np.float32)


def _likeness(key: str, titles: Sequence[str]) -> FloatArray:
    """Similarity of whole titles with the text, 0 to .8."""
    from rapidfuzz.fuzz import ratio

    weight = RATIO_WEIGHT / 100.0
    return np.asarray([weight * ratio(key, title) for title in titles], dtype=np.float32)


WORDS_FILE, PAIRS_FILE = "words.json", "pairs.npy"
MIN_COMPLETED = 3
READINGS = 4_096
"""Texts whose reading is remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class Searcher:
    """Finds items by text.

    Args:
        config: weights and depths.
        lexical: the word index.
        titles: whole titles.
        speller: the catalogue's vocabulary.
        keys: normalised title by item number.
        synonyms: what to look for beside the words of a text.
        rewrites: what may be searched instead of texts that few items answer.
    """

    config: SearchConfig
    lexical: LexicalIndex
    titles: TitleIndex
    speller: Speller
    keys: Sequence[str]
    synonyms: Synonyms = field(default_factory=Synonyms)
    rewrites: RewriteTable = field(default_factory=RewriteTable)
    _readings: Callable[[str], Interpretation] = field(init=False)
    _instead: Callable[[str], tuple[Rewrite, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Remember how texts were read that many people type; a changed searcher starts anew."""
        titles, speller, config = self.titles, self.speller, self.config
        table, synonyms = self.rewrites, self.synonyms
        matcher = self.matcher

        @lru_cache(READINGS)
        def instead(key: str) -> tuple[Rewrite, ...]:
            return rewrites_of(key, table, matcher, synonyms, config.offer_from)

        @lru_cache(READINGS)
        def reading(text: str) -> Interpretation:
            as_read = read(text, titles, speller, config.confidence)
            key, sure = as_read.corrected_key, config.recover_from
            if sure == 1.0 or matcher.matches(key) or matcher.is_answered(key):
                return as_read
            found = (one for one in instead(key) if one.confidence >= sure)
            return next(
                (with_rewrite(as_read, one.text, titles, speller) for one in found), as_read
            )

        object.__setattr__(self, "_readings", reading)
        object.__setattr__(self, "_instead", instead)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        popularity: FloatArray,
        folder: Path,
        config: SearchConfig | None = None,
    ) -> Self:
        """Write the word index and vocabulary of a catalogue into ``folder`` and open them.

        Args:
            catalogue: N items.
            popularity: (N,) interactions per item.
            folder: created; not to be changed afterwards.
            config: weights and depths.
        """
        config = config or SearchConfig()
        LexicalIndex.build(catalogue, folder, config.lexical)
        counts = word_counts(catalogue, config.lexical.fields)
        documents = (document_of(item, config.lexical.fields) for item in catalogue.items)
        WordPairs.of(documents, counts).save(folder / PAIRS_FILE)
        document = {
            "keys": [title_key(item.title) for item in catalogue.items],
            "counts": counts,
        }
        if written := written_words(catalogue):
            document["written"] = sorted(written)
        (folder / WORDS_FILE).write_text(json.dumps(document), encoding="utf-8")
        return cls.open(folder, catalogue, popularity, config)

    @classmethod
    def open(
        cls,
        folder: Path,
        catalogue: Catalogue,
        popularity: FloatArray,
        config: SearchConfig | None = None,
    ) -> Self:
        """Read what ``build`` wrote for the same catalogue.

        Raises:
            ArtefactError: the folder holds no search index of this many items.
            DataError: popularity has another length than the catalogue.
        """
        count = len(catalogue)
        if len(popularity) != count:
            raise DataError(f"{len(popularity)} popularities for {count} items.")
        lexical = LexicalIndex.open(folder)
        try:
            document = json.loads((folder / WORDS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder} holds no readable vocabulary: {error}.") from None
        keys = document["keys"]
        if len(keys) != count or lexical.statistics.num_documents != count:
            raise ArtefactError(f"{folder} indexes {len(keys)} items, the catalogue has {count}.")
        titles = TitleIndex.of(catalogue.items, popularity, keys)
        counts = document["counts"]
        pairs = WordPairs.open(folder / PAIRS_FILE, counts)
        # Written words are found, but nothing is ever corrected to one.
        written = document.get("written", ())
        speller = Speller.of(counts, pairs, english_word_frequencies(), keys).with_words(written)
        searcher = cls(config or SearchConfig(), lexical, titles, speller, keys)
        # The first search pays for imports and page faults; better here than in a request.
        searcher.search("warm up", 1)
        return searcher

    @property
    def matcher(self) -> CatalogueMatcher:
        """What the catalogue says of texts."""
        return CatalogueMatcher(self.lexical, self.speller.counts, self.speller.pairs, self.titles)

    @property
    def num_items(self) -> int:
        """Items known, deleted ones included: numbers are never used again."""
        return len(self.keys)

    def with_synonyms(self, synonyms: Synonyms) -> Self:
        """A copy that looks for other words, too."""
        return replace(self, synonyms=synonyms)

    def with_rewrites(self, rewrites: RewriteTable) -> Self:
        """A copy that knows what may be searched instead."""
        return replace(self, rewrites=rewrites)

    def with_items(self, items: Sequence[Item]) -> Self:
        """A copy that also finds new items, numbered after the old ones."""
        keys = [*self.keys, *([""] * len(items))]
        return self._with_texts(range(self.num_items, len(keys)), items, keys)

    def with_changed_items(self, item_nums: Sequence[int], items: Sequence[Item]) -> Self:
        """A copy where known numbers have other words; deleted ones come back.

        Args:
            item_nums: (P,) numbers below ``num_items``; their popularity stays.
            items: P items.

        Raises:
            DataError: lengths differ, or a number is not known.
        """
        if len(item_nums) != len(items):
            raise DataError(f"{len(item_nums)} numbers for {len(items)} items.")
        numbers = [int(number) for number in item_nums]
        unknown = [number for number in numbers if not 0 <= number < self.num_items]
        if unknown:
            raise DataError(f"item number {unknown[0]} is not in this index.")
        return self._with_texts(numbers, items, list(self.keys))

    def _with_texts(
        self,
        numbers: Sequence[int],
        items: Sequence[Item],
        keys: list[str],
    ) -> Self:
        found: set[str] = set()
        for number, item in zip(numbers, items, strict=True):
            keys[number] = title_key(item.title)
            document = document_of(item, self.config.lexical.fields)
            found.update(document.title, document.body, document.written)
        return replace(
            self,
            lexical=self.lexical.with_changed_items(numbers, items),
            titles=self.titles.with_changed_items(numbers, items),
            speller=self.speller.with_words(found),
            keys=keys,
        )

    def without_items(self, item_nums: Iterable[int]) -> Self:
        """A copy that never answers these items."""
        gone = frozenset(int(number) for number in item_nums)
        return replace(
            self,
            lexical=self.lexical.without_items(gone),
            titles=self.titles.without_items(gone),
        )

    def read(self, text: str, literal: bool = False) -> Interpretation:
        """Understand a text against the catalogue's titles and words.

        Args:
            text: anything.
            literal: take it as it was typed.
        """
        if literal:
            return read_literally(text, self.titles, self.speller)
        return self._readings(text)

    def instead_of(self, text: str, literal: bool = False) -> tuple[Rewrite, ...]:
        """What may be searched instead of a text, or of what it is taken to mean, best first."""
        return self._instead(self.read(text, literal).corrected_key)

    def corrected(self, text: str) -> str:
        """What is searched instead of a text, as its title is written; empty where nothing is."""
        reading = self.read(text)
        return "" if reading.corrected_key == reading.key else self.written(reading.corrected_key)

    def written(self, key: str) -> str:
        """A normal form as people write it: the title of an item, where one has it."""
        bearers = self.titles.bearers(key)
        return bearers[0].title if bearers else key

    def search(
        self,
        text: str,
        k: int,
        allowed: BoolArray | None = None,
        literal: bool = False,
    ) -> ItemList:
        """The k best items for a text.

        Args:
            text: anything; blank finds nothing.
            k: at most this many; below 1 gives none.
            allowed: (N,) bool by item number; None = all that are not deleted.
            literal: correct nothing.

        Returns:
            items best first with the fields ``bm25`` (0 where not among the ``depth`` best hits)
            and ``title_match`` (1 exact, .9 corrected, else .8 times the similarity of the whole
            title). Scores fall strictly by these groups.
        """
        reading = self.read(text, literal)
        if k < 1 or not reading.key:
            return empty_result()
        beside = () if literal else self.synonyms.beside(reading.corrected_key)
        words = self.lexical.search(reading.corrected_key, self.config.depth, allowed, beside)
        going_on = self._going_on(reading.corrected_key, allowed)
        weights = (self.config.word_weight, self.config.title_weight)
        fused = reciprocal_rank_fusion((words, going_on), self.num_items, weights)
        answer = order_results(reading, words, fused, self.keys, allowed)
        return answer.take(np.arange(min(k, len(answer))))

    def _going_on(self, key: str, allowed: BoolArray | None) -> ItemList:
        """Items whose title goes on from the text, most popular first."""
        if len(key) < MIN_COMPLETED:
            return ItemList()
        found = self.titles.completions(key, self.config.depth)
        numbers = [one.item_num for one in found if is_allowed(one.item_num, allowed)]
        return ItemList.of(numbers, [1.0 / rank for rank in range(1, len(numbers) + 1)])
