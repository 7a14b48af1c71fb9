"""Text search over the catalogue by levels: titles, values of attributes, all words, some words.

Order of an answer: items with exactly the searched title (by popularity), items with a title one or
two edits away, items with the values of attributes that the text names (the best and most popular
first), items with a text of several words in their title, items with all words, with a rare value,
with some words; see ``understanding.EXACT``. Words are ordered by the rank fusion of BM25 and title
completions. Semantic matches are left to the retriever. A searcher is immutable; posting and
deleting items gives a new one that shares everything built.

**Reciprocal rank fusion** merges ranked lists whose scores have no common scale. The result does
not depend on the order of the lists; ties follow the fixed order of ``data.item_list``.

Paper: Cormack, Clarke and Buettcher 2009, Reciprocal Rank Fusion outperforms Condorcet (SIGIR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from pyroaring import BitMap

from serendip.data import MISSING, AllowedItems, Artefact, Catalogue, Item, Vocabulary
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.item_list import ItemList, tie_order
from serendip.data.rows.strings import StringIndex, Strings
from serendip.data.text import code_key, normalise, query_grams, words
from serendip.errors import ArtefactError, DataError
from serendip.search.chosen_searches import ChosenSearches
from serendip.search.documents import FIELDS, GENERATED, MAX_CODE, document_of
from serendip.search.language import ENGLISH, function_words, stem
from serendip.search.lexical import LexicalIndex, are_allowed, known_strings, word_counts
from serendip.search.names import Merits, Names, ValueTable, keys_of
from serendip.search.reader import QueryReader
from serendip.search.rewrites import FEW, CatalogueMatcher, Rewrite, RewriteTable
from serendip.search.spelling import (
    EditIndex,
    Speller,
    WordCounts,
    WordPairs,
    english_word_frequencies,
    is_hangul,
    spell_out,
)
from serendip.search.synonyms import Synonyms
from serendip.search.titles import TitleIndex
from serendip.search.understanding import (
    ALL_WORDS,
    CORRECTED,
    EXACT,
    MOST_COMMON,
    ONE_VALUE,
    SOME_WORDS,
    TITLED,
    VALUES,
    Content,
    Interpretation,
    find_wish,
)

RANK_CONSTANT = 60
"""A larger one would reduce the weight of the top ranks."""


def reciprocal_rank_fusion(lists: Sequence[ItemList], num_items: int) -> ItemList:
    """Score each item by the sum of ``1 / (60 + rank)`` over its lists; ranks start at 1."""
    if not lists:
        return ItemList()
    numbers = np.unique(np.concatenate([ranked.item_nums for ranked in lists]))
    gains = np.zeros((len(lists), len(numbers)))
    for row, ranked in enumerate(lists):
        columns = np.searchsorted(numbers, ranked.item_nums)
        gains[row, columns] = 1.0 / (RANK_CONSTANT + 1.0 + np.arange(len(ranked)))
    # Sorting makes the sum independent of the order of the lists, to the last bit.
    scores = np.sort(gains, axis=0).sum(axis=0).astype(np.float32)
    order = np.lexsort((tie_order(num_items)[numbers], -scores))
    return ItemList(numbers[order].astype(np.int32), scores[order])


RATIO_WEIGHT = 0.8
"""Largest ``title_match`` of a title that is neither an exact nor a corrected match."""


def put_first(item: int, hits: ItemList) -> ItemList:
    """Hits of a search after the one item that was meant, as if its title were the text."""
    is_it, others = hits.item_nums == item, hits.split(hits.item_nums != item)[0]
    first = {
        "bm25": hits.fields["bm25"][is_it].max(initial=0.0),
        "title_match": EXACT,
        "match": EXACT,
    }
    return ItemList.of_distinct(
        np.append(np.int32(item), others.item_nums).astype(np.int32),
        np.append(np.float32(hits.scores.max(initial=0.0) + 1), others.scores),
        {name: np.append(np.float32(first[name]), others.fields[name]) for name in first},
    )


@dataclass(frozen=True, slots=True, eq=False)
class SearchTables(Artefact):
    """What a search reads of the built items besides the lexical index.

    Args:
        edits: of these words.
        hangul: of the Korean ones, spelt out in letters.
        pairs: counts of words that follow each other.
        known: strings of items and of the language, which are not misspelt.
        searches: after which the items were chosen.
        title_rows: (N,) int32 row of each item's title; -1 = it has none.
    """

    counts: WordCounts
    edits: EditIndex
    hangul: EditIndex
    pairs: WordPairs
    known: StringIndex
    grammar: frozenset[str]
    searches: ChosenSearches
    titles: Names
    title_rows: IntArray


def _grammar_of(catalogue: Catalogue) -> frozenset[str]:
    """Function words of a catalogue's languages; of few words, which tell no language, English."""
    texts = catalogue.texts(_TEXTS)
    return function_words(texts) if sum(map(len, texts)) >= _FEWEST_LETTERS else ENGLISH


def _in_order(numbers: IntArray, order: IntArray) -> IntArray:
    ahead = order[np.isin(order, numbers)]
    return np.concatenate([ahead, numbers[~np.isin(numbers, ahead)]])


def _take_covering(hits: ItemList, covering: ItemList) -> ItemList:
    """Hits of some words, those that say most first; where any says half of it, no others."""
    share_of = dict(zip(covering.item_nums.tolist(), covering.scores.tolist(), strict=True))
    least = _MUCH if max(share_of.values(), default=0.0) >= _MUCH else 0.0
    shares = np.array([share_of.get(number, 0.0) for number in hits.item_nums.tolist()])
    order = np.argsort(-np.round(shares, 2), kind="stable")
    return hits.take(order[shares[order] >= least])


def _first_of_each(levels: Mapping[float, IntArray], k: int) -> tuple[IntArray, FloatArray]:
    numbers = np.concatenate([*levels.values()]).astype(np.int32)
    matches = np.repeat(np.array([*levels], np.float32), [len(one) for one in levels.values()])
    first = np.sort(np.unique(numbers, return_index=True)[1])[:k]
    return numbers[first], matches[first]


def _is_held(word: str, terms: Set[str], language: str) -> bool:
    pairs = query_grams(word)
    return word in terms or stem(word, language) in terms or (bool(pairs) and terms >= {*pairs})


def _is_near_form(word: str, other: str, language: str) -> bool:
    """Whether a word is another, or its singular or plural: other forms are other titles."""
    shorter, longer = sorted((word, other), key=len)
    is_ended = len(longer) == len(shorter) + 1 and longer.startswith(shorter)
    return word == other or (is_ended and stem(word, language) == stem(other, language) != "")


def _title_similarity(key: str, titles: Sequence[str]) -> FloatArray:
    """String similarity of whole titles and the text, 0 to .8."""
    from rapidfuzz.fuzz import ratio

    weight = RATIO_WEIGHT / 100.0
    return np.asarray([weight * ratio(key, title) for title in titles], dtype=np.float32)


TABLES_FOLDER = "words"
_TEXTS, _FEWEST_LETTERS = ("title", "description"), 20_000
MIN_COMPLETED = 3
READINGS = 4_096

MOST_COMPLETE = 50_000
"""Items with all words of a text that are listed; of more, the best by the words."""

_COMPLETE_TEXTS = 16

_MUCH = 0.45
"""Share of a text, by how rare its words are: where an item says as much, others are no hits."""

_BLOCK = 1_024
"""Items with a value that are tested together whether they may be shown."""


DEPTH = 300
"""Items taken from each list before rank fusion."""


@dataclass(frozen=True, eq=False)
class Searcher:
    """Finds items by text.

    Args:
        num_items: number of items, including deleted ones: numbers are never reused.
    """

    lexical: LexicalIndex
    titles: TitleIndex
    speller: Speller
    num_items: int
    synonyms: Synonyms = field(default_factory=lambda: Synonyms.of(()))
    rewrites: RewriteTable = field(default_factory=RewriteTable)
    grammar: frozenset[str] = ENGLISH
    values: ValueTable = field(default_factory=lambda: ValueTable.of(()))
    searches: ChosenSearches = field(default_factory=ChosenSearches)

    @cached_property
    def reader(self) -> QueryReader:
        """Reads texts by all parts."""
        speller = replace(self.speller, expanded=self.synonyms.also)
        parts = (self.lexical, self.titles, speller, self.values, self.synonyms, self.grammar)
        return QueryReader(*parts)

    @cached_property
    def _readings(self) -> Callable[[str], Interpretation]:
        return lru_cache(READINGS)(self.reader.read)

    @cached_property
    def _instead(self) -> Callable[[str], tuple[Rewrite, ...]]:
        matcher = self.matcher
        return lru_cache(READINGS)(lambda key: self.rewrites.find(key, matcher))

    @cached_property
    def _complete(self) -> Callable[[Content, bool], ItemList]:
        return lru_cache(_COMPLETE_TEXTS)(self._find_complete)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        popularity: Merits,
        folder: Path,
        fields: Sequence[str] | None = None,
        searches: ChosenSearches | None = None,
    ) -> Self:
        """Write the lexical index and vocabulary of a catalogue into ``folder`` and open them.

        Popularity is (N,) interactions per item; the folder is created, and must not change
        afterwards. Fields are those of the lexical index besides the title; None = all but
        fractional numbers.
        """
        searches = searches or ChosenSearches()
        catalogue = searches.add_to_all(catalogue)
        lexical = LexicalIndex.build(catalogue, folder, fields)
        counts = WordCounts.of(word_counts(catalogue, fields))
        documents = (document_of(item, fields) for item in catalogue)
        pairs = WordPairs.of(documents, counts)
        known = known_strings(catalogue, counts, lexical.language)
        titles = TitleIndex.of(catalogue, popularity)
        SearchTables(
            counts,
            replace(EditIndex.of(counts), strings=counts.index.strings),
            EditIndex.of(map(spell_out, filter(is_hangul, counts))),
            replace(pairs, numbers=counts.index),
            StringIndex.of(Strings.of(sorted(known))),
            frozenset(_grammar_of(catalogue)),
            searches,
            titles.names,
            titles.rows,
        ).save(folder / TABLES_FOLDER)
        return cls.open(folder, catalogue, popularity)

    @classmethod
    def open(
        cls,
        folder: Path,
        catalogue: Catalogue,
        popularity: Merits,
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
        tables = SearchTables.open(folder / TABLES_FOLDER)
        rows = tables.title_rows
        if len(rows) != count or lexical.statistics.num_documents != count:
            raise ArtefactError(f"{folder} indexes {len(rows)} items, the catalogue has {count}.")
        speller = Speller(
            *(tables.counts, tables.edits, tables.hangul, tables.pairs),
            *(english_word_frequencies(), tables.titles, lexical.language, tables.known),
        )
        index = TitleIndex(popularity, catalogue.titles, rows, tables.titles)
        searcher = cls(
            *(lexical, index, speller, count), grammar=tables.grammar, searches=tables.searches
        )
        # The first search pays for imports and page faults: do it here, not in a request.
        searcher.search("warm up", 1)
        return searcher

    @property
    def matcher(self) -> CatalogueMatcher:
        """Counts matches of queries in the catalogue."""
        return CatalogueMatcher(self.lexical, self.speller.counts, self.titles)

    def with_late(self, items: Mapping[int, Item]) -> Self:
        """A copy with late items by number; restores deleted ones.

        Those numbered from ``num_items`` on are new; of others the popularity stays.
        """
        items = {number: self.searches.add_to(number, item) for number, item in items.items()}
        documents = {number: self.lexical.analyse(item) for number, item in items.items()}
        known = self.speller.posted.union(*(document.known for document in documents.values()))
        later = replace(
            self,
            lexical=self.lexical.with_late(documents),
            titles=self.titles.with_late({number: item.title for number, item in items.items()}),
            speller=replace(self.speller, posted=known),
            num_items=max([self.num_items, *(number + 1 for number in items)]),
            values=self.values.with_late({number: keys_of(item) for number, item in items.items()}),
        )
        return later._without(self.lexical.deleted - BitMap(items))

    def without_items(self, item_nums: Iterable[int]) -> Self:
        """A copy that never returns these items."""
        return self._without(self.lexical.deleted | BitMap(map(int, item_nums)))

    def _without(self, deleted: BitMap) -> Self:
        lexical, titles = self.lexical, self.titles
        parts = replace(lexical, deleted=deleted), replace(titles, deleted=deleted)
        return replace(self, lexical=parts[0], titles=parts[1])

    def read(self, text: str, literal: bool = False) -> Interpretation:
        """Interpret a text by titles and words; a ``literal`` one as typed, without corrections."""
        return self.reader.read_literally(text) if literal else self._readings(text)

    def match_item_id(self, text: str, vocabulary: Vocabulary) -> int:
        """Number of the item with this id, whatever its case and separators; -1 = no id.

        Goods are searched by their codes, too. The spelling as typed comes first; a code that is
        that of several items means none of them. An id has a digit. One of digits alone is not
        meant where an item has it as a word, as a year, and none is where a title is the text.
        """
        typed = text.strip()
        if not any(map(str.isdigit, typed)):
            return MISSING
        spellings = (typed, typed.upper(), typed.lower())
        number = next((n for name in spellings if (n := vocabulary.number(name)) >= 0), MISSING)
        if number < 0 and len(typed) <= 2 * MAX_CODE:  # separators count; the word index has keys
            key = code_key(typed)
            found = self.reader.find_code(key).tolist()
            same = [other for other in found if code_key(vocabulary.id(other)) == key]
            number = same[0] if len(same) == 1 else MISSING
        if number < 0 or len(self.titles.exact(text)):
            return MISSING
        return MISSING if typed.isdigit() and self.speller.knows(normalise(typed)) else number

    def find_meaning(self, text: str) -> str:
        """The text whose meaning is compared: without generic words beside unknown Latin ones, and
        of a wish for others like an unknown title the title.

        "keqxxpk movie" would mean any movie. What an unknown word of another script means may be
        clear beside a generic one.
        """
        reading = self.read(text)
        content = reading.content
        if not len(reading.exact) and (title := find_wish(text, self.grammar)):
            return title
        return text if content.is_language or not content.needed.isascii() else content.needed

    def find_titled(self, text: str) -> IntArray:
        """Items whose title a text is; see ``QueryReader.named_items``."""
        return self.reader.named_items(self.read(text))

    def find_held(self, text: str, item: Item, literal: bool = False) -> tuple[str, bool]:
        """The words of a text that an item has in any form; whether they are all it asks for."""
        needed = words(self.read(text, literal).content.needed)
        document = self.lexical.analyse(item)
        terms = {term for name in (*FIELDS, GENERATED) for term in document.terms(name)}
        held = [word for word in needed if _is_held(word, terms, document.language)]
        return " ".join(held), len(held) == len(needed)

    def find_rewrites(self, text: str, literal: bool = False) -> tuple[Rewrite, ...]:
        """Rewrites of a text, or of its correction, best first."""
        reading = self.read(text, literal)
        if len(self._having_values(reading.content, None, FEW)) == FEW:
            return ()
        return self._instead(reading.corrected_key)

    def correct_text(self, text: str) -> str:
        """The correction that is searched instead of a text, spelt as a title; empty = none."""
        reading = self.read(text)
        return (
            "" if reading.corrected_key == reading.key else self.display_form(reading.corrected_key)
        )

    def display_form(self, key: str) -> str:
        """Display form of a normal form: the title of an item if one has it."""
        titled = self.titles.bearers(key)
        return self.titles.title(titled[0]) if titled else key

    def search(
        self,
        text: str,
        k: int,
        allowed: AllowedItems | None = None,
        literal: bool = False,
    ) -> ItemList:
        """The k best items for a text; a ``literal`` one is searched as typed, without corrections.

        Returns items best first with the fields ``bm25`` (0 if the words did not find it),
        ``match`` (see ``understanding.EXACT``) and ``title_match`` (1 exact, .9 corrected, else .8
        times the similarity of the whole title). Scores strictly decrease.
        """
        reading = self.read(text, literal)
        if k < 1 or not reading.key:
            return self._explained(NO_ITEMS, np.empty(0, np.float32), reading, ())
        content = reading.content
        beside = () if literal else self.synonyms.beside(reading.corrected_key)
        also = [] if literal else self.synonyms.expand(content.needed)
        some = complete = self.lexical.search(content.text, DEPTH, allowed, beside)
        if " " in content.text or beside:
            complete = self.lexical.search(
                content.needed, DEPTH, allowed, beside, needs_all=True, expansions=also
            )
        completions = self._complete_titles(reading.corrected_key, allowed)
        fused = self._fuse(some, completions)
        levels = self._leading_levels(reading, completions, allowed, k)
        levels[ALL_WORDS] = _in_order(complete.item_nums, fused)
        if not literal and len(self.reader.named_items(reading)):
            levels[ALL_WORDS] = self._with_title_of(content.needed, levels[ALL_WORDS])
        else:
            levels[ONE_VALUE] = _in_order(self._having_rare_value(content, allowed, k), fused)
            levels[SOME_WORDS] = fused
            if " " in content.needed:
                covering = self.lexical.covering(content.needed, DEPTH, allowed, also)
                levels[SOME_WORDS] = self._fuse(_take_covering(some, covering), completions)
        numbers, matches = _first_of_each(levels, k)
        return self._explained(
            numbers, matches, reading, (some,) if complete is some else (some, complete)
        )

    def _fuse(self, hits: ItemList, completions: ItemList) -> IntArray:
        return reciprocal_rank_fusion((hits, completions), self.num_items).item_nums

    def _leading_levels(
        self, reading: Interpretation, completions: ItemList, allowed: AllowedItems | None, k: int
    ) -> dict[float, IntArray]:
        return {
            EXACT: reading.exact[are_allowed(reading.exact, allowed)],
            CORRECTED: reading.corrected[are_allowed(reading.corrected, allowed)],
            VALUES: self._having_values(reading.content, allowed, k),
            TITLED: self._leading_titles(reading, completions.item_nums, allowed),
        }

    def _explained(
        self,
        numbers: IntArray,
        matches: FloatArray,
        reading: Interpretation,
        words: Sequence[ItemList],
    ) -> ItemList:
        # Hits (H,), best first, with the fields that explain them; scores tell their order. An item
        # that has a value and no word has the mean BM25 of the others.
        scores: dict[int, float] = {}
        for hits in words:
            scores.update(zip(hits.item_nums.tolist(), hits.scores.tolist(), strict=True))
        bm25 = np.array([scores.get(number, 0.0) for number in numbers.tolist()], np.float32)
        usual = max((float(hits.scores.mean()) for hits in words if len(hits)), default=1.0)
        bm25[(bm25 == 0) & (matches >= np.float32(ONE_VALUE))] = usual
        titles = [self.titles.key(number) for number in numbers.tolist()]
        similarity = _title_similarity(reading.corrected_key, titles)
        fields = {
            "bm25": bm25,
            "title_match": np.where(matches >= np.float32(CORRECTED), matches, similarity),
            "match": matches,
        }
        order = np.arange(len(numbers), 0, -1, dtype=np.float32)
        return ItemList.of_distinct(numbers, order, fields)

    def _having_values(self, content: Content, allowed: AllowedItems | None, k: int) -> IntArray:
        """At most k items with all values that a text names, best first, or of all if it asks for
        the best; none if it says more.
        """
        if content.words or not (content.values or content.is_whole):
            return NO_ITEMS
        return self._having(content.values, allowed, k)

    def _having_rare_value(
        self, content: Content, allowed: AllowedItems | None, k: int
    ) -> IntArray:
        """At most k items with the rarest value that a text names, if it is what the text is about:
        half of the words, or a title and the only value; none if many items have it.
        """
        least = len(content.text.split(" ")) / 2
        is_only = len(content.values) == 1
        main = [
            name
            for name in content.values
            if (is_only and name in self.titles) or len(name.split(" ")) >= least
        ]
        rarest = min(main, key=self.values.size, default="")
        if not rarest or self.values.size(rarest) > MOST_COMMON * self.num_items:
            return NO_ITEMS
        return self._having((rarest,), allowed, k)

    def _having(
        self,
        keys: Sequence[str],
        allowed: AllowedItems | None,
        k: int,
    ) -> IntArray:
        # Without keys, all items are found; late ones come last.
        built, late = self.values.having(keys), self.values.late.having(keys)
        found: list[int] = []
        for begin in range(0, len(built), _BLOCK):
            block = built[begin : begin + _BLOCK]
            shown = self.lexical.may_show(block, allowed) & self.lexical.are_as_built(block)
            found += block[shown].tolist()
            if len(found) >= k:
                break
        found += late[self.lexical.may_show(late, allowed)].tolist()
        return np.array(found[:k], np.int32)

    def _find_complete(self, content: Content, literal: bool) -> ItemList:
        key, most = content.needed, MOST_COMPLETE
        also = [] if literal else self.synonyms.expand(key)
        beside = self.synonyms.beside(key) if also else ()
        hits = ItemList()
        if not content.is_whole:  # which asks for no words
            hits = self.lexical.search(key, most, None, beside, needs_all=True, expansions=also)
        having = self._having_values(content, None, most)
        more = having[~np.isin(having, hits.item_nums)]
        usual = float(hits.scores.mean()) if len(hits) else 1.0
        scores = np.concatenate([hits.scores, np.full(len(more), usual, np.float32)])
        return ItemList.of_distinct(np.concatenate([hits.item_nums, more]), scores)

    def find_complete(self, text: str, literal: bool = False) -> ItemList:
        """Items with every word of a text, by BM25, and those with all values that it is made of.

        There are ``MOST_COMPLETE`` of both at most. Those of the last few texts are kept, so that
        further pages of a list cost nothing. Of a ``literal`` text synonyms do not count.
        """
        return self._complete(self.read(text, literal).content, literal)

    def with_match(
        self, hits: ItemList, text: str, literal: bool = False, most: int | None = None
    ) -> ItemList:
        """Hits that have all words of a text, with the fields that ``search`` gives its own.

        They may come in any order, and stay in it unless only the ``most`` best are returned, best
        first.
        """
        reading, numbers = self.read(text, literal), hits.item_nums
        completions = self._complete_titles(reading.corrected_key, None)
        levels = self._leading_levels(reading, completions, None, MOST_COMPLETE)
        ahead = {level: items[np.isin(items, numbers)] for level, items in levels.items()}
        count = len(numbers) if most is None else most
        best, matches = _first_of_each({**ahead, ALL_WORDS: numbers}, count)
        explained = self._explained(best, matches, reading, (hits,))
        if most is not None:
            return explained
        return explained.take(np.argsort(best)[np.argsort(np.argsort(numbers))])

    def _leading_titles(
        self, reading: Interpretation, completions: IntArray, allowed: AllowedItems | None
    ) -> IntArray:
        """Completions of a text that lead: of several words, or of a title, that name no value; of
        a title those that have it as words, "Exorcist II"; of an abbreviation those of its words.
        """
        content = reading.content
        if " " in content.needed and not content.values:
            return completions
        spelt = [term for term in self.synonyms.also.get(content.needed, ()) if " " in term]
        if spelt and not content.values:
            return self._complete_titles(spelt[0], allowed).item_nums
        is_title = bool(len(self.reader.named_items(reading)))
        return self._with_title_of(content.needed, completions) if is_title else NO_ITEMS

    def _with_title_of(self, needed: str, numbers: IntArray) -> IntArray:
        """Those of some items whose title has all words, or a form with one letter more or less."""
        language, typed = self.lexical.language, words(needed)
        titles = [self.titles.key(item).split(" ") for item in numbers.tolist()]
        has_all = [
            all(any(_is_near_form(word, other, language) for other in title) for word in typed)
            for title in titles
        ]
        return numbers[has_all]

    def _complete_titles(self, key: str, allowed: AllowedItems | None) -> ItemList:
        if len(key) < MIN_COMPLETED:
            return ItemList()
        numbers = np.array(self.titles.completions(key, DEPTH), np.int32)
        numbers = numbers[are_allowed(numbers, allowed)]
        return ItemList(numbers, (1.0 / np.arange(1, len(numbers) + 1)).astype(np.float32))
