"""Text search over the catalogue: exact titles, corrected titles, then BM25 and completions.

Order of an answer: items with exactly the searched title (by popularity), items with a title one or
two edits away, then the rank fusion of BM25 and title completions. Semantic matches are left to the
retriever. A searcher is immutable; posting and deleting items gives a new one that shares
everything built.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item_list import ItemList
from serendip.data.items.allowed_items import AllowedItems
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.rows.strings import StringIndex, Strings, open_arrays, save_arrays
from serendip.errors import ArtefactError, DataError
from serendip.search.config import SearchConfig
from serendip.search.documents import document_of
from serendip.search.lexical import LexicalIndex, are_allowed, known_strings, word_counts
from serendip.search.rank_fusion import reciprocal_rank_fusion
from serendip.search.rewrites.candidates import CatalogueMatcher
from serendip.search.rewrites.table import Rewrite, RewriteTable, rewrites_of
from serendip.search.spelling.speller import Speller
from serendip.search.spelling.typos import HANGUL, EditIndex, is_hangul, spell_out
from serendip.search.spelling.word_statistics import (
    WordCounts,
    WordPairs,
    english_word_frequencies,
)
from serendip.search.synonyms import Synonyms
from serendip.search.titles import Popularity, TitleIndex, TitleTable
from serendip.search.understanding import (
    CORRECTED,
    EXACT,
    Interpretation,
    read,
    read_literally,
)

RATIO_WEIGHT = 0.8
"""Largest ``title_match`` of a title that is neither an exact nor a corrected match."""


def order_results(
    reading: Interpretation,
    words: ItemList,
    fused: ItemList,
    key_of: Callable[[int], str],
    allowed: AllowedItems | None,
) -> ItemList:
    """Put the title matches of ``reading`` before ``fused`` and add the fields that explain them.

    Args:
        reading: interpretation of the text.
        words: BM25 hits.
        fused: all other hits, best first.
        key_of: item number -> its normalised title.
        allowed: only these title matches are put first; None = all.

    Returns:
        all items with ``bm25`` and ``title_match``; scores never rise.
    """
    titled: dict[int, float] = dict.fromkeys(reading.exact.tolist(), EXACT)
    for number in reading.corrected.tolist():
        titled.setdefault(number, CORRECTED)
    matches = np.fromiter(titled, np.int32, len(titled))
    shown = matches[are_allowed(matches, allowed)].tolist()
    titled = {number: titled[number] for number in shown}
    rest = [number for number in fused.item_nums.tolist() if number not in titled]
    numbers = np.asarray([*titled, *rest], dtype=np.int32)
    scores = _scores_in(fused, numbers)
    lead = np.arange(len(titled), 0, -1, dtype=np.float32)
    scores[: len(lead)] = fused.scores.max(initial=0.0) + lead
    similarity = _title_similarity(reading.corrected_key, [key_of(number) for number in rest])
    matches = np.concatenate([np.asarray(list(titled.values()), dtype=np.float32), similarity])
    fields = {"bm25": _scores_in(words, numbers), "title_match": matches}
    return ItemList(numbers, scores, fields)


def put_first(item: int, hits: ItemList) -> ItemList:
    """Hits of a search after the one item that was meant, as if its title were the text."""
    is_it, others = hits.item_nums == item, hits.split(hits.item_nums != item)[0]
    first = {
        "bm25": hits.fields["bm25"][is_it].max(initial=0.0),
        "title_match": EXACT,
    }
    return ItemList.of_distinct(
        np.append(np.int32(item), others.item_nums).astype(np.int32),
        np.append(np.float32(hits.scores.max(initial=0.0) + 1), others.scores),
        {name: np.append(np.float32(first[name]), others.fields[name]) for name in first},
    )


def empty_result() -> ItemList:
    """An empty result with its fields."""
    none = np.empty(0, dtype=np.float32)
    return ItemList(fields={"bm25": none, "title_match": none})


def _open_speller(
    folder: Path, stored: Mapping[str, NDArray[Any]], titles: Container[str], language: str
) -> Speller:
    """The speller of the words and word pairs in a folder."""
    counts = WordCounts(StringIndex.of_arrays(_WORDS, stored), stored["counts"])
    edits = EditIndex.of_arrays(counts.index.strings, stored)
    hangul = EditIndex.of_arrays(Strings.of_arrays(HANGUL, stored), stored, HANGUL)
    pairs = WordPairs.open(folder / PAIRS_FILE, counts.index)
    known = StringIndex.of_arrays(_KNOWN, stored)
    frequencies = english_word_frequencies()
    return Speller(counts, edits, hangul, pairs, frequencies, titles, language, known)


def _scores_in(source: ItemList, numbers: IntArray) -> FloatArray:
    """Scores of ``numbers`` in a list; 0 for those not in it."""
    scores = dict(zip(source.item_nums.tolist(), source.scores.tolist(), strict=True))
    return np.asarray([scores.get(number, 0.0) for number in numbers.tolist()], dtype=np.float32)


def _title_similarity(key: str, titles: Sequence[str]) -> FloatArray:
    """String similarity of whole titles and the text, 0 to .8."""
    from rapidfuzz.fuzz import ratio

    weight = RATIO_WEIGHT / 100.0
    return np.asarray([weight * ratio(key, title) for title in titles], dtype=np.float32)


WORDS_FOLDER, TITLES_FOLDER, PAIRS_FILE = "words", "titles", "pairs.npy"
_WORDS, _KNOWN = "words", "known"
MIN_COMPLETED = 3
READINGS = 4_096
"""Number of texts whose interpretation is cached."""

MOST_COMPLETE = 50_000
"""Items with all words of a text that are listed; of more, the best by the words."""

_COMPLETE_TEXTS = 16
"""Texts whose items with all words are kept."""

_MOST_CODED = 8
"""Items with a code of which the one is searched that has it as its id."""


@dataclass(frozen=True, slots=True, eq=False)
class Searcher:
    """Finds items by text.

    Args:
        config: weights and depths.
        lexical: the lexical index.
        titles: index of whole titles.
        speller: corrects words against the catalogue's vocabulary.
        num_items: number of items, including deleted ones: numbers are never reused.
        synonyms: query expansion by accepted synonyms.
        rewrites: rewrites for queries with few matches.
    """

    config: SearchConfig
    lexical: LexicalIndex
    titles: TitleIndex
    speller: Speller
    num_items: int
    synonyms: Synonyms = field(default_factory=lambda: Synonyms.of(()))
    rewrites: RewriteTable = field(default_factory=RewriteTable)
    _readings: Callable[[str], Interpretation] = field(init=False)
    _instead: Callable[[str], tuple[Rewrite, ...]] = field(init=False)
    _coded: Callable[[str], tuple[int, ...]] = field(init=False)
    _complete: Callable[[str, bool], ItemList] = field(init=False)

    def __post_init__(self) -> None:
        """Cache interpretations and rewrites of frequent texts; a changed searcher starts empty."""
        titles, config = self.titles, self.config
        table, synonyms = self.rewrites, self.synonyms
        speller = replace(self.speller, expanded=synonyms.also)
        matcher = self.matcher

        with_codes = self._with_codes

        @lru_cache(READINGS)
        def instead(key: str) -> tuple[Rewrite, ...]:
            return rewrites_of(key, table, matcher, synonyms, config.offer_from)

        @lru_cache(READINGS)
        def reading(text: str) -> Interpretation:
            return with_codes(read(text, titles, speller, config.confidence))

        lexical = self.lexical

        @lru_cache(READINGS)
        def coded(key: str) -> tuple[int, ...]:
            return tuple(lexical.having_all(key, _MOST_CODED).tolist())

        @lru_cache(_COMPLETE_TEXTS)
        def complete(key: str, literal: bool) -> ItemList:
            also = [] if literal else synonyms.expand(key)
            beside = synonyms.beside(key) if also else ()
            return lexical.search(key, MOST_COMPLETE, None, beside, needs_all=True, expansions=also)

        object.__setattr__(self, "_complete", complete)
        object.__setattr__(self, "_coded", coded)
        object.__setattr__(self, "_readings", reading)
        object.__setattr__(self, "_instead", instead)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        popularity: Popularity,
        folder: Path,
        config: SearchConfig | None = None,
    ) -> Self:
        """Write the lexical index and vocabulary of a catalogue into ``folder`` and open them.

        Args:
            catalogue: N items.
            popularity: (N,) interactions per item.
            folder: created; must not change afterwards.
            config: weights and depths.
        """
        config = config or SearchConfig()
        lexical = LexicalIndex.build(catalogue, folder, config.lexical)
        counts = WordCounts.of(word_counts(catalogue, config.lexical.fields))
        documents = (document_of(item, config.lexical.fields) for item in catalogue)
        WordPairs.of(documents, counts).save(folder / PAIRS_FILE)
        known = known_strings(catalogue, counts, lexical.language)
        spelt = sorted(map(spell_out, filter(is_hangul, counts)))
        words = {
            **counts.index.arrays(_WORDS),
            **EditIndex.of(counts).arrays(),
            **Strings.of(spelt).arrays(HANGUL),
            **EditIndex.of(spelt).arrays(HANGUL),
            **StringIndex.of(Strings.of(sorted(known))).arrays(_KNOWN),
            "counts": counts.counts,
        }
        save_arrays(folder / WORDS_FOLDER, words)
        titles = TitleIndex.of(catalogue, popularity)
        save_arrays(folder / TITLES_FOLDER, {**titles.built.arrays(), "item_rows": titles.rows})
        return cls.open(folder, catalogue, popularity, config)

    @classmethod
    def open(
        cls,
        folder: Path,
        catalogue: Catalogue,
        popularity: Popularity,
        config: SearchConfig | None = None,
    ) -> Self:
        """Read what ``build`` wrote for the same catalogue.

        Raises:
            ArtefactError: the folder has no readable search index for this number of items.
            DataError: the lengths of popularity and catalogue differ.
        """
        count = len(catalogue)
        if len(popularity) != count:
            raise DataError(f"{len(popularity)} popularities for {count} items.")
        lexical = LexicalIndex.open(folder)
        titles, words = open_arrays(folder / TITLES_FOLDER), open_arrays(folder / WORDS_FOLDER)
        try:
            table, rows = TitleTable.of_arrays(titles), titles["item_rows"]
            speller = _open_speller(folder, words, table, lexical.language)
        except KeyError as error:
            raise ArtefactError(
                f"{folder} has no readable vocabulary: {error} is missing.", "Run `serendip train`."
            ) from None
        if len(rows) != count or lexical.statistics.num_documents != count:
            raise ArtefactError(f"{folder} indexes {len(rows)} items, the catalogue has {count}.")
        index = TitleIndex.of_table(table, catalogue.titles, rows, popularity)
        searcher = cls(config or SearchConfig(), lexical, index, speller, count)
        # The first search pays for imports and page faults: do it here, not in a request.
        searcher.search("warm up", 1)
        return searcher

    @property
    def matcher(self) -> CatalogueMatcher:
        """Counts matches of queries in the catalogue."""
        return CatalogueMatcher(self.lexical, self.speller.counts, self.speller.pairs, self.titles)

    def with_synonyms(self, synonyms: Synonyms) -> Self:
        """A copy that expands queries by synonyms."""
        return replace(self, synonyms=synonyms)

    def with_rewrites(self, rewrites: RewriteTable) -> Self:
        """A copy with query rewrites."""
        return replace(self, rewrites=rewrites)

    def with_items(self, items: Sequence[Item]) -> Self:
        """A copy that also finds new items, numbered after the old ones."""
        count = self.num_items + len(items)
        return self._with_texts(range(self.num_items, count), items, count)

    def with_changed_items(self, item_nums: Sequence[int], items: Sequence[Item]) -> Self:
        """A copy in which existing numbers have new texts; restores deleted ones.

        Args:
            item_nums: (P,) numbers below ``num_items``; their popularity stays.
            items: P items.

        Raises:
            DataError: lengths differ, or a number is unknown.
        """
        if len(item_nums) != len(items):
            raise DataError(f"{len(item_nums)} numbers for {len(items)} items.")
        numbers = [int(number) for number in item_nums]
        unknown = [number for number in numbers if not 0 <= number < self.num_items]
        if unknown:
            raise DataError(f"item number {unknown[0]} is not in this index.")
        return self._with_texts(numbers, items, self.num_items)

    def _with_texts(
        self,
        numbers: Sequence[int],
        items: Sequence[Item],
        count: int,
    ) -> Self:
        vocabulary = set().union(*(self.lexical.analyse(item).known for item in items))
        return replace(
            self,
            lexical=self.lexical.with_changed_items(numbers, items),
            titles=self.titles.with_changed_items(numbers, items),
            speller=self.speller.with_words(sorted(vocabulary)),
            num_items=count,
        )

    def without_items(self, item_nums: Iterable[int]) -> Self:
        """A copy that never returns these items."""
        deleted = frozenset(int(number) for number in item_nums)
        return replace(
            self,
            lexical=self.lexical.without_items(deleted),
            titles=self.titles.without_items(deleted),
        )

    def read(self, text: str, literal: bool = False) -> Interpretation:
        """Interpret a text by the catalogue's titles and words.

        Args:
            text: any text.
            literal: whether to take it as typed, without corrections.
        """
        if literal:
            return self._with_codes(read_literally(text, self.titles, self.speller))
        return self._readings(text)

    def _with_codes(self, reading: Interpretation) -> Interpretation:
        """A reading that knows the codes in a text: the index has them, the speller has not."""
        unknown = tuple(word for word in reading.unknown if not self._is_code(word))
        return reading if unknown == reading.unknown else replace(reading, unknown=unknown)

    def _is_code(self, word: str) -> bool:
        return any(map(str.isdigit, word)) and len(self.find_code(word)) > 0

    def find_code(self, key: str) -> tuple[int, ...]:
        """Numbers of a few items that have a code, without its separators, as a word or id."""
        return self._coded(key)

    def find_rewrites(self, text: str, literal: bool = False) -> tuple[Rewrite, ...]:
        """Rewrites of a text, or of its correction, best first."""
        return self._instead(self.read(text, literal).corrected_key)

    def correct_text(self, text: str) -> str:
        """The correction that is searched instead of a text, spelt as a title; empty = none."""
        reading = self.read(text)
        return (
            "" if reading.corrected_key == reading.key else self.display_form(reading.corrected_key)
        )

    def display_form(self, key: str) -> str:
        """Display form of a normal form: the title of an item if one has it."""
        titled = self.titles.bearers(key)
        return titled[0].title if titled else key

    def search(
        self,
        text: str,
        k: int,
        allowed: AllowedItems | None = None,
        literal: bool = False,
    ) -> ItemList:
        """The k best items for a text.

        Args:
            text: any text; blank finds nothing.
            k: maximum number; below 1 gives none.
            allowed: items that may be found; None = all that are not deleted.
            literal: whether to search the text as typed, without corrections.

        Returns:
            items best first with the fields ``bm25`` (0 if not among the ``depth`` best hits) and
            ``title_match`` (1 exact, .9 corrected, else .8 times the similarity of the whole
            title). Scores strictly decrease from group to group.
        """
        reading = self.read(text, literal)
        if k < 1 or not reading.key:
            return empty_result()
        beside = () if literal else self.synonyms.beside(reading.corrected_key)
        words = self.lexical.search(reading.corrected_key, self.config.depth, allowed, beside)
        completions = self._complete_titles(reading.corrected_key, allowed)
        weights = (self.config.word_weight, self.config.title_weight)
        fused = reciprocal_rank_fusion((words, completions), self.num_items, weights)
        answer = order_results(reading, words, fused, self.titles.key, allowed)
        return answer.take(np.arange(min(k, len(answer))))

    def find_complete(self, key: str, literal: bool = False) -> ItemList:
        """Items with every word of a normalised text, by BM25: at most ``MOST_COMPLETE``.

        Those of the last few texts are kept, so that further pages of a list cost nothing.

        Args:
            key: the text.
            literal: whether synonyms of its words do not count.
        """
        return self._complete(key, literal)

    def with_title_match(self, hits: ItemList, text: str, literal: bool = False) -> ItemList:
        """Hits of the words of a text with the fields that ``search`` gives its own."""
        reading = self.read(text, literal)
        titles = [self.titles.key(number) for number in hits.item_nums.tolist()]
        matches = _title_similarity(reading.corrected_key, titles)
        matches[np.isin(hits.item_nums, reading.corrected)] = CORRECTED
        matches[np.isin(hits.item_nums, reading.exact)] = EXACT
        fields = {"bm25": hits.scores, "title_match": matches}
        return ItemList.of_distinct(hits.item_nums, hits.scores, fields)

    def _complete_titles(self, key: str, allowed: AllowedItems | None) -> ItemList:
        """Items whose title completes the text, most popular first."""
        if len(key) < MIN_COMPLETED:
            return ItemList()
        numbers = np.array(self.titles.complete_items(key, self.config.depth), np.int32)
        numbers = numbers[are_allowed(numbers, allowed)]
        return ItemList(numbers, (1.0 / np.arange(1, len(numbers) + 1)).astype(np.float32))
