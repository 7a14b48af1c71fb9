"""Lexical index: BM25 over titles, other fields and bigrams, with an overlay for recent items.

``LexicalIndex`` is a tantivy index in one immutable folder, written once by ``build`` and read by
memory map. Late items are in ``LateWords``, deleted ones are filtered from every answer:
both take effect at once and the folder never changes. Queries are built from analysed terms, never
from a user's query syntax. Items are indexed in the fixed order of ``data.item_list``, so that ties
come out in that order.

**Late words**: those of late items, beside the index of a generation, with scores on its scale. A
second full index would have document frequencies of its own; this one has only postings and uses
the statistics of the built index: its BM25 (k1 = 1.2, b = .75, as in tantivy) gives a late item the
score it would have there.

BM25: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".

Shapes: H items with a term, M items.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tantivy
from numpy.typing import NDArray
from pyroaring import BitMap

from serendip.data import AllowedItems, Catalogue, Item, ItemList, normalise, tie_order
from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.errors import ArtefactError, require_readable
from serendip.runtime.atomic_files import PREFIX
from serendip.search.documents import (
    FIELDS,
    GENERATED,
    Document,
    document_of,
    needed_terms,
    query_terms,
    stem_terms,
)
from serendip.search.language import MARK, find_language, stems
from serendip.search.synonyms import Expansion

K1 = 1.2
B = 0.75

_ALL_FIELDS = (*FIELDS, GENERATED)

Term: TypeAlias = tuple[str, str]
WeightedTerms: TypeAlias = tuple[Sequence[Term], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """BM25 statistics of the built index; a term is that of a field."""

    num_documents: int
    lengths: Mapping[str, int]
    frequency: Callable[[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class LateWords:
    """An immutable word index of late items.

    Args:
        terms: item -> its terms.
        postings: term -> items that have it, and what BM25 makes of its occurrences in each.
    """

    terms: Mapping[int, Collection[Term]] = field(default_factory=dict)
    postings: Mapping[Term, Mapping[int, float]] = field(default_factory=dict)
    _columns: dict[Term, tuple[IntArray, NDArray[np.float64]]] = field(default_factory=dict)

    def put(self, documents: Mapping[int, Document], statistics: Statistics) -> LateWords:
        """A copy with other documents of these items."""
        terms = {**self.terms}
        changed: dict[Term, dict[int, float]] = {}
        for item, document in documents.items():
            after = _weigh(document, statistics)
            for term in {*terms.get(item, ()), *after}:
                if term not in changed:
                    changed[term] = {**self.postings.get(term, {})}
                changed[term].pop(item, None)
                if term in after:
                    changed[term][item] = after[term]
            terms[item] = after.keys()
        return LateWords(terms, {**self.postings, **changed})

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, item: object) -> bool:
        return item in self.terms

    def scores(
        self, weighted_terms: Sequence[WeightedTerms], statistics: Statistics
    ) -> tuple[IntArray, FloatArray]:
        """Items (M,) that have one of the terms, ascending, and their BM25 (M,)."""
        hits = [
            (items, weights[name] * gains)
            for terms, weights in weighted_terms
            for name, term in terms
            if weights[name] > 0 and (name, term) in self.postings
            for items, gains in [self._gains((name, term), statistics)]
        ]
        if not hits:
            return NO_ITEMS, np.empty(0, np.float32)
        items, rows = np.unique(np.concatenate([part for part, _ in hits]), return_inverse=True)
        scores = np.bincount(rows, np.concatenate([part for _, part in hits]), len(items))
        return items, scores.astype(np.float32)

    def rarity(self, terms: Sequence[Term], statistics: Statistics) -> float:
        """Inverse document frequency, among all items, of the commonest of some terms."""
        frequency = max(
            statistics.frequency(*term) + len(self.postings.get(term, ())) for term in terms
        )
        total = statistics.num_documents + len(self)
        return math.log(1.0 + (total - frequency + 0.5) / (frequency + 0.5))

    def having_all(self, groups: Sequence[Sequence[Term]]) -> IntArray:
        """Items (M,), ascending, that have a term of each group; none without groups."""
        items, counts = self.covering(groups, [1.0] * len(groups))
        having: IntArray = items[(counts == len(groups)) & bool(groups)]
        return having

    def covering(
        self, groups: Sequence[Sequence[Term]], weights: Sequence[float]
    ) -> tuple[IntArray, FloatArray]:
        """Items (M,), ascending, with a term of a group, and the sums (M,) of these weights."""
        sums: defaultdict[int, float] = defaultdict(float)
        for group, weight in zip(groups, weights, strict=True):
            for item in {item for term in group for item in self.postings.get(term, ())}:
                sums[item] += weight
        items = np.array(sorted(sums), np.int32)
        return items, np.array([sums[item] for item in items.tolist()], np.float32)

    def _gains(self, term: Term, statistics: Statistics) -> tuple[IntArray, NDArray[np.float64]]:
        if term not in self._columns:
            posting = self.postings[term]
            parts = np.array([*posting], np.int32), np.array([*posting.values()])
            self._columns[term] = parts
        items, shares = self._columns[term]
        return items, self.rarity([term], statistics) * shares


def _weigh(document: Document, statistics: Statistics) -> dict[Term, float]:
    """Term -> its BM25 but for its rarity."""
    weights: dict[Term, float] = {}
    for name in _ALL_FIELDS:
        found = document.terms(name)
        total = statistics.lengths.get(name, 0)
        relative = len(found) * statistics.num_documents / total if total else 1.0
        for term, count in Counter(found).items():
            damped = count / (count + K1 * (1.0 - B + B * relative))
            weights[name, term] = (1.0 + K1) * damped
    return weights


META_FILE = "lexical.json"
FORMAT = 3
BESIDE = 0.3
"""Relative weight of an expansion term (a synonym) against a typed word."""

STEM = 0.4
"""Relative weight of the stem of a typed word."""

_WEIGHTS = {"title": 3.0, "body": 1.0, "grams": 1.0, GENERATED: 0.5}
"""Field -> weight of a word there; of a bigram of a script without spaces; of a generated text that
passed `serendip llm gate`."""

_WRITER_HEAP_BYTES = 64_000_000

_SPARE = 64
"""Hits asked for at first in place of those that are deleted or changed."""


@dataclass(frozen=True, slots=True, eq=False)
class LexicalIndex:
    """BM25 search over a built folder and the items posted since.

    Args:
        fields: of the body; None = description and all attributes except fractional numbers.
        language: of the stems; empty = Hangul alone has stems.
        late: terms of late items; those of changed ones in the folder are outdated.
        deleted: item numbers that are never returned.
    """

    fields: Sequence[str] | None
    language: str
    statistics: Statistics
    _schema: Any
    _searcher: Any
    late: LateWords = field(default_factory=LateWords)
    deleted: BitMap = field(default_factory=BitMap)

    @classmethod
    def build(
        cls, catalogue: Catalogue, folder: Path, fields: Sequence[str] | None = None
    ) -> LexicalIndex:
        """Index all items of a catalogue into ``folder`` (created) and open it.

        Raises:
            ArtefactError: the folder has an index already.
        """
        if (folder / "meta.json").exists():
            raise ArtefactError(f"{folder} has a word index already.", "Build into a new folder.")
        folder.mkdir(parents=True, exist_ok=True)
        # Without generated texts the index is the same as if the field did not exist.
        has_generated = any(catalogue.texts_of("generated_text"))
        columns = (*FIELDS, GENERATED) if has_generated else FIELDS
        language = find_language(item.text(("title", "description")) for item in catalogue)
        lengths = _write(catalogue, fields, language, columns, folder)
        meta = {
            "format": FORMAT,
            "fields": fields,
            "language": language,
            "lengths": lengths,
        }
        (folder / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        """Read what ``build`` wrote.

        Raises:
            ArtefactError: the folder has no readable index, or one of another format.
        """
        with require_readable(folder, "word index"):
            meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
            if meta.get("format") != FORMAT:
                raise ValueError(f"format {meta.get('format')!r}")
            schema, searcher = _open_index(folder)
        statistics = Statistics(searcher.num_docs, meta["lengths"], searcher.doc_freq)
        return cls(meta["fields"], meta["language"], statistics, schema, searcher)

    def with_late(self, documents: Mapping[int, Document]) -> LexicalIndex:
        """A copy in which these numbers have other terms."""
        return replace(self, late=self.late.put(documents, self.statistics))

    def analyse(self, item: Item) -> Document:
        """Terms of an item."""
        return document_of(item, self.fields, self.language)

    def search(
        self,
        text: str,
        k: int,
        allowed: AllowedItems | None = None,
        beside: Sequence[str] = (),
        needs_all: bool = False,
        expansions: Sequence[Expansion] = (),
    ) -> ItemList:
        """The k best items that have a word of ``text`` or an expansion term, by BM25 > 0.

        Terms ``beside`` have ``BESIDE`` of the weight of a word of ``text``. With ``needs_all``
        only items with every word of it are found, or with the words of a synonym that an expansion
        tells. Equal scores come in the fixed order of ``data.item_list``, late items after built
        ones.
        """
        weighted_terms = self._weight_terms(text, beside)
        if not weighted_terms or k < 1:
            return ItemList()
        groups = self._needed_terms(text, expansions) if needs_all else []
        query = _any_of(
            tantivy.Query.boost_query(self._term(name, term), weights[name])
            for terms, weights in weighted_terms
            for name, term in terms
        )
        late, scores = self.late.scores(weighted_terms, self.statistics)
        if groups and len(late):
            having = np.isin(late, self.late.having_all(groups))
            late, scores = late[having], scores[having]
        if groups:
            unscored = tantivy.Query.const_score_query(self._all_of(groups), 0.0)
            clauses = [(tantivy.Occur.Must, unscored), (tantivy.Occur.Should, query)]
            query = tantivy.Query.boolean_query(clauses)
        return self._best_hits(query, late, scores, k, allowed)

    def covering(
        self,
        text: str,
        k: int,
        allowed: AllowedItems | None = None,
        expansions: Sequence[Expansion] = (),
    ) -> ItemList:
        """The k items that say most of a text, by the share of it, in (0, 1], that they say.

        A word, or a term that its synonyms stand for, counts by its inverse document frequency.
        """
        groups = self._needed_terms(text, expansions)
        if not groups or k < 1:
            return ItemList()
        weights = [self.late.rarity(group, self.statistics) for group in groups]
        query = _any_of(
            tantivy.Query.const_score_query(self._any_term(group), weight)
            for group, weight in zip(groups, weights, strict=True)
        )
        hits = self._best_hits(query, *self.late.covering(groups, weights), k, allowed)
        shares = np.minimum(hits.scores / np.float32(sum(weights)), np.float32(1))
        return ItemList.of_distinct(hits.item_nums, shares)

    def having_all(self, normal: str, k: int) -> IntArray:
        """Numbers of at most k items that have every word of a normalised text, in any field."""
        groups = self._needed_terms(normal)
        if not groups or k < 1:
            return np.empty(0, np.int32)
        built, _ = self._built_hits(self._all_of(groups), k, None)
        late = self.late.having_all(groups)
        return np.concatenate([built, late[self.may_show(late, None)]])[:k]

    def _needed_terms(
        self, text: str, expansions: Sequence[Expansion] = ()
    ) -> list[tuple[tuple[str, str], ...]]:
        fields = tuple(self.statistics.lengths)
        return needed_terms(normalise(text), fields, self.language, expansions)

    def _weight_terms(self, text: str, beside: Sequence[str]) -> list[WeightedTerms]:
        """(field, term) pairs of typed words, stems and expansion terms, with field weights."""
        fields = tuple(self.statistics.lengths)
        shares = (
            (query_terms(text, fields), 1.0),
            (stem_terms(normalise(text), self.language, fields), STEM),
            (query_terms(" ".join(beside), fields), BESIDE),
        )
        return [
            (terms, {name: share * weight for name, weight in _WEIGHTS.items()})
            for terms, share in shares
            if terms
        ]

    def _best_hits(
        self,
        query: tantivy.Query,
        late: IntArray,
        late_scores: FloatArray,
        k: int,
        allowed: AllowedItems | None,
    ) -> ItemList:
        numbers, scores = self._built_hits(query, k, allowed)
        if len(late):
            is_shown = self.may_show(late, allowed)
            numbers = np.concatenate([numbers, late[is_shown]])
            scores = np.concatenate([scores, late_scores[is_shown]])
        best = np.argsort(-scores, kind="stable")[:k]
        return ItemList.of_distinct(numbers[best], scores[best])

    def _built_hits(
        self, query: tantivy.Query, k: int, allowed: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        most = self.statistics.num_documents
        limit = min(most, k + min(len(self.deleted) + len(self.late), max(k, _SPARE)))
        while limit:
            hits = self._searcher.search(query, limit=limit, count=False).hits
            addresses = [address for _, address in hits]
            stored = self._searcher.fast_field_values("item", addresses) if hits else []
            numbers = np.array(stored, np.int32)
            rows = np.flatnonzero(self.may_show(numbers, allowed) & self.are_as_built(numbers))
            if len(rows) >= k or len(hits) < limit or limit == most:
                scores = np.array([score for score, _ in hits], np.float32)
                return numbers[rows[:k]], scores[rows[:k]]
            limit = min(most, 4 * limit)
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)

    def are_as_built(self, numbers: IntArray) -> BoolArray:
        """(H,) True for built items that were not changed since."""
        return ~_is_in(numbers, self.late)

    def may_show(self, numbers: IntArray, allowed: AllowedItems | None) -> BoolArray:
        """(H,) True for hits that are allowed and not deleted."""
        return are_allowed(numbers, allowed) & ~_is_in(numbers, self.deleted)

    def _term(self, name: str, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, name, term, "freq")

    def _any_term(self, group: Sequence[tuple[str, str]]) -> tantivy.Query:
        return _any_of(self._term(name, term) for name, term in group)

    def _all_of(self, groups: Sequence[Sequence[tuple[str, str]]]) -> tantivy.Query:
        clauses = [(tantivy.Occur.Must, self._any_term(group)) for group in groups]
        return tantivy.Query.boolean_query(clauses)


def _any_of(queries: Iterable[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])


def are_allowed(numbers: IntArray, allowed: AllowedItems | None) -> BoolArray:
    """(H,) True for items that may be shown; None allows all, and a set none beyond its end."""
    if allowed is None:
        return np.ones(len(numbers), np.bool_)
    inside = numbers < allowed.shared.num_items
    inside[inside] = allowed.admits(numbers[inside])
    return inside


def _is_in(numbers: IntArray, some: BitMap | LateWords) -> BoolArray:
    if not len(some):
        return np.zeros(len(numbers), np.bool_)
    return np.fromiter((number in some for number in numbers.tolist()), np.bool_, len(numbers))


def known_strings(catalogue: Catalogue, counts: Mapping[str, int], language: str) -> set[str]:
    """Words of generated texts, and stems of all words: known, but no words of the catalogue."""
    items = (item for item in catalogue.items if item.generated_text)
    generated = {word for item in items for word in document_of(item, ()).generated}
    return generated.union(stems((*counts, *generated), language)).difference(counts)


def word_counts(catalogue: Catalogue, fields: Sequence[str] | None = None) -> Counter[str]:
    """Word -> number of items with it in the title or body; in Hangul without its particle, too."""
    counts: Counter[str] = Counter()
    for item in catalogue.items:
        document = document_of(item, fields)
        found = {*document.title, *document.body}
        counts.update(found.union(form.removeprefix(MARK) for form in stems(found, "")))
    return counts


def _write(
    catalogue: Catalogue,
    body: Sequence[str] | None,
    language: str,
    fields: Sequence[str],
    folder: Path,
) -> dict[str, int]:
    builder = tantivy.SchemaBuilder().add_integer_field("item", fast=True)
    for name in fields:
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder), reuse=False)
    writer = index.writer(heap_size=_WRITER_HEAP_BYTES, num_threads=1)
    lengths = dict.fromkeys(fields, 0)
    for number in np.argsort(tie_order(len(catalogue))).tolist():
        document = document_of(catalogue[number], body, language)
        terms = {name: document.terms(name) for name in fields}
        for name in fields:
            lengths[name] += len(terms[name])
        texts = {name: " ".join(terms[name]) for name in fields}
        writer.add_document(tantivy.Document.from_dict({"item": number, **texts}, schema))
    writer.commit()
    writer.wait_merging_threads()
    del writer, index
    for lock in folder.glob(".tantivy-*.lock"):
        lock.unlink()
    return lengths


def _open_index(folder: Path) -> tuple[Any, Any]:
    """Open a folder, which may be read-only, without changing it: (schema, searcher).

    Tantivy creates a lock file next to the index, so it is opened through a folder of links; the
    memory maps stay valid when the links are gone. Where a thread of the library still writes that
    file, the folder is left to ``runtime.atomic_files``.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as links:
        for file in folder.resolve().iterdir():
            Path(links, file.name).symlink_to(file)
        index = tantivy.Index.open(links)
        index.config_reader(reload_policy="manual")
        searcher = index.searcher()
    shutil.rmtree(links, ignore_errors=True)  # a thread of the library may have written since
    return index.schema, searcher
