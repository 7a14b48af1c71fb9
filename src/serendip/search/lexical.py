"""Lexical index: BM25 over titles, other fields and bigrams, with an overlay for recent items.

``LexicalIndex`` is a tantivy index in one immutable folder, written once by ``build`` and read by
memory map. Items posted later are in ``RecentItemsIndex``, deleted ones are filtered from every
answer: both take effect at once and the folder never changes. Queries are built from analysed
terms, never from a user's query syntax. Items are indexed in the fixed order of
``data.item_list``, so that ties come out in that order.

``RecentItemsIndex`` makes posted items findable at once with comparable scores. A second full
index would have document frequencies of its own; this one has only postings and uses the
statistics of the built index: its BM25 (k1 = 1.2, b = .75, as in tantivy) gives a posted item the
score it would have there. Adding an item copies two small maps and leaves the old value unchanged.

Paper: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from pydantic import NonNegativeFloat

from serendip.config import Config, validate
from serendip.data.allowed_items import AllowedItems
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.item_list import ItemList, tie_order
from serendip.errors import ArtefactError
from serendip.search.documents import (
    FIELDS,
    GENERATED,
    Document,
    document_of,
    needed_terms,
    query_terms,
)

K1 = 1.2
B = 0.75

Posting = tuple[tuple[int, int], ...]
"""(item number, occurrences) pairs."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """BM25 statistics of the built index.

    Args:
        num_documents: number of items.
        lengths: field -> total number of terms of all items.
        frequency: (field, term) -> number of items with the term.
    """

    num_documents: int
    lengths: Mapping[str, int]
    frequency: Callable[[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class RecentItemsIndex:
    """Immutable postings of a few items.

    Args:
        documents: item number -> its terms.
        postings: (field, term) -> items that have it.
    """

    documents: Mapping[int, Document] = field(default_factory=dict)
    postings: Mapping[tuple[str, str], Posting] = field(default_factory=dict)

    def with_documents(self, documents: Mapping[int, Document]) -> RecentItemsIndex:
        """A copy with more items by item number; existing ones are replaced."""
        postings = dict(self.postings)
        for number in documents.keys() & self.documents.keys():
            for pair, _ in _count_terms(self.documents[number]):
                kept = tuple(entry for entry in postings.get(pair, ()) if entry[0] != number)
                postings[pair] = kept
        for number, document in documents.items():
            for pair, count in _count_terms(document):
                postings[pair] = (*postings.get(pair, ()), (number, count))
        return RecentItemsIndex({**self.documents, **documents}, postings)

    def scores(
        self,
        terms: Sequence[tuple[str, str]],
        weights: Mapping[str, float],
        statistics: Statistics,
    ) -> dict[int, float]:
        """Item number -> BM25 of every posted item that has one of the (field, term) pairs."""
        found: dict[int, float] = {}
        for name, term in terms:
            postings = self.postings.get((name, term), ())
            if postings and weights[name] > 0:
                self._add(found, name, postings, weights[name], statistics, term)
        return found

    def having_all(self, groups: Sequence[Sequence[tuple[str, str]]]) -> set[int]:
        """Posted items that have a (field, term) pair of each group; empty without groups."""
        have = [
            {number for pair in group for number, _ in self.postings.get(pair, ())}
            for group in groups
        ]
        return set.intersection(*have) if have else set()

    def _add(
        self,
        found: dict[int, float],
        name: str,
        postings: Posting,
        weight: float,
        statistics: Statistics,
        term: str,
    ) -> None:
        documents = statistics.num_documents + len(self.documents)
        frequency = statistics.frequency(name, term) + len(postings)
        rarity = math.log(1.0 + (documents - frequency + 0.5) / (frequency + 0.5))
        mean_length = self._mean_length(name, statistics)
        for number, count in postings:
            relative = len(self.documents[number].terms(name)) / mean_length
            damped = count / (count + K1 * (1.0 - B + B * relative))
            found[number] = found.get(number, 0.0) + weight * rarity * (1.0 + K1) * damped

    def _mean_length(self, name: str, statistics: Statistics) -> float:
        if statistics.num_documents and statistics.lengths[name]:
            return statistics.lengths[name] / statistics.num_documents
        lengths = [len(document.terms(name)) for document in self.documents.values()]
        return max(sum(lengths) / max(len(lengths), 1), 1.0)


def _count_terms(document: Document) -> Iterator[tuple[tuple[str, str], int]]:
    """((field, term), occurrences) of a document."""
    for name in (*FIELDS, GENERATED):
        for term, count in Counter(document.terms(name)).items():
            yield (name, term), count


META_FILE = "lexical.json"
FORMAT = 1
BESIDE = 0.3
"""Relative weight of an expansion term (a synonym) against a typed word."""

_WRITER_HEAP_BYTES = 64_000_000

_WeightedTerms: TypeAlias = tuple[Sequence[tuple[str, str]], Mapping[str, float]]


class LexicalConfig(Config):
    """Indexed fields and their weights."""

    renamed: ClassVar[Mapping[str, str]] = {"written": "generated"}

    title: NonNegativeFloat = 3.0
    """Weight of a word in the title."""

    body: NonNegativeFloat = 1.0
    """Weight of a word in any other field."""

    grams: NonNegativeFloat = 1.0
    """Weight of a bigram of a script without spaces."""

    generated: NonNegativeFloat = 0.5
    """Weight of a word of a generated text that passed `serendip enrich gate`."""

    fields: tuple[str, ...] | None = None
    """Fields of the body; None = description and all attributes except fractional numbers."""

    def weights(self) -> dict[str, float]:
        """Field -> weight."""
        fields = {"title": self.title, "body": self.body, "grams": self.grams}
        return {**fields, GENERATED: self.generated}


@dataclass(frozen=True, slots=True, eq=False)
class LexicalIndex:
    """BM25 search over a built folder and the items posted since.

    Args:
        config: weights and fields.
        statistics: of the built index.
        posted: terms of items posted or changed after the build.
        changed: item numbers whose terms in the folder are outdated.
        deleted: item numbers that are never returned.
    """

    config: LexicalConfig
    statistics: Statistics
    _schema: Any
    _searcher: Any
    posted: RecentItemsIndex = field(default_factory=RecentItemsIndex)
    changed: frozenset[int] = frozenset()
    deleted: frozenset[int] = frozenset()

    @classmethod
    def build(
        cls, catalogue: Catalogue, folder: Path, config: LexicalConfig | None = None
    ) -> LexicalIndex:
        """Index all items of a catalogue into ``folder`` (created) and open it.

        Raises:
            ArtefactError: the folder has an index already.
        """
        if (folder / "meta.json").exists():
            raise ArtefactError(f"{folder} has a word index already.", "Build into a new folder.")
        config = config or LexicalConfig()
        documents = [document_of(item, config.fields) for item in catalogue.items]
        folder.mkdir(parents=True, exist_ok=True)
        # Without generated texts the index is the same as if the field did not exist.
        has_generated = any(document.generated for document in documents)
        fields = (*FIELDS, GENERATED) if has_generated else FIELDS
        _write(documents, fields, folder)
        meta = {
            "format": FORMAT,
            "config": config.model_dump(mode="json"),
            "lengths": {name: sum(len(d.terms(name)) for d in documents) for name in fields},
        }
        (folder / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        """Read what ``build`` wrote.

        Raises:
            ArtefactError: the folder has no readable index, or one of another format.
        """
        try:
            meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
            schema, searcher = _open_index(folder)
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{folder} has no readable word index: {error}.", "Run `serendip train` again."
            ) from None
        if meta.get("format") != FORMAT:
            raise ArtefactError(f"{folder}: word index of format {meta.get('format')!r}.")
        config = validate(LexicalConfig, meta["config"], str(folder / META_FILE))
        statistics = Statistics(searcher.num_docs, meta["lengths"], searcher.doc_freq)
        return cls(config, statistics, schema, searcher)

    def with_items(self, items: Sequence[Item], first_number: int) -> LexicalIndex:
        """A copy that also finds new items, numbered from ``first_number`` on."""
        return self.with_changed_items(range(first_number, first_number + len(items)), items)

    def with_changed_items(self, item_nums: Sequence[int], items: Sequence[Item]) -> LexicalIndex:
        """A copy in which these numbers have new terms; restores deleted ones."""
        numbers = frozenset(int(number) for number in item_nums)
        documents = {
            int(number): document_of(item, self.config.fields)
            for number, item in zip(item_nums, items, strict=True)
        }
        built = frozenset(n for n in numbers if n < self.statistics.num_documents)
        return replace(
            self,
            posted=self.posted.with_documents(documents),
            changed=self.changed | built,
            deleted=self.deleted - numbers,
        )

    def without_items(self, item_nums: Iterable[int]) -> LexicalIndex:
        """A copy that never returns these items."""
        return replace(self, deleted=self.deleted.union(int(number) for number in item_nums))

    def search(
        self, text: str, k: int, allowed: AllowedItems | None = None, beside: Sequence[str] = ()
    ) -> ItemList:
        """The k best items that have a word of ``text`` or an expansion term.

        Args:
            text: any text; without a letter or digit it finds nothing.
            k: maximum number; below 1 gives none.
            allowed: items that may be found; None = all that are not deleted.
            beside: expansion terms; each has ``BESIDE`` of the weight of a word of ``text``.

        Returns:
            items by BM25 > 0, highest first; equal scores in the fixed order of ``data.item_list``,
            posted items after built ones.
        """
        weighted_terms = self._weight_terms(text, beside)
        if not weighted_terms or k < 1:
            return ItemList()
        numbers, scores = self._built_hits(self._query(weighted_terms), k, allowed)
        posted: Counter[int] = Counter()
        for terms, weights in weighted_terms:
            posted.update(self.posted.scores(terms, weights, self.statistics))
        if posted:
            items = np.fromiter(posted, np.int32, len(posted))
            kept = self._may_show(items, allowed)
            numbers = np.concatenate([numbers, items[kept]])
            scores = np.concatenate([scores, np.fromiter(posted.values(), np.float32)[kept]])
        best = np.argsort(-scores, kind="stable")[:k]
        return ItemList(numbers[best], scores[best])

    def scores(self, text: str, item_nums: IntArray, depth: int = 300) -> FloatArray:
        """BM25 (C,) of items among the ``depth`` best hits; 0 for all others."""
        hits = self.search(text, depth)
        scores = dict(zip(hits.item_nums.tolist(), hits.scores.tolist(), strict=True))
        return np.asarray([scores.get(int(n), 0.0) for n in item_nums], dtype=np.float32)

    def having_all(self, normal: str, k: int) -> IntArray:
        """Numbers of at most k items that have every word of a normalised text, in any field."""
        groups = needed_terms(normal, tuple(self.statistics.lengths))
        if not groups or k < 1:
            return np.empty(0, np.int32)
        built, _ = self._built_hits(self._query_of_all(groups), k, None)
        posted = [item for item in self.posted.having_all(groups) if item not in self.deleted]
        return np.concatenate([built, np.asarray(sorted(posted), np.int32)])[:k]

    def _weight_terms(self, text: str, beside: Sequence[str]) -> list[_WeightedTerms]:
        """(field, term) pairs of typed words and of expansion terms, with their field weights."""
        weights = self.config.weights()
        less = {name: BESIDE * weight for name, weight in weights.items()}
        fields = tuple(self.statistics.lengths)
        both = ((query_terms(text, fields), weights), (query_terms(" ".join(beside), fields), less))
        return [(terms, weights) for terms, weights in both if terms]

    def _built_hits(
        self, query: Any, k: int, allowed: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        most = self.statistics.num_documents
        limit = min(most, k + len(self.deleted) + len(self.changed))
        while limit:
            hits = self._searcher.search(query, limit=limit, count=False).hits
            addresses = [address for _, address in hits]
            stored = self._searcher.fast_field_values("item", addresses) if hits else []
            numbers = np.array(stored, np.int32)
            rows = np.flatnonzero(self._may_show(numbers, allowed) & ~_is_in(numbers, self.changed))
            if len(rows) >= k or len(hits) < limit or limit == most:
                scores = np.array([score for score, _ in hits], np.float32)
                return numbers[rows[:k]], scores[rows[:k]]
            limit = min(most, 4 * limit)
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)

    def _may_show(self, numbers: IntArray, allowed: AllowedItems | None) -> BoolArray:
        """(H,) True for hits that are allowed and not deleted."""
        return are_allowed(numbers, allowed) & ~_is_in(numbers, self.deleted)

    def _query(self, weighted_terms: Sequence[_WeightedTerms]) -> Any:
        from tantivy import Occur, Query

        clauses = [
            (
                Occur.Should,
                Query.boost_query(
                    Query.term_query(self._schema, name, term, "freq"), weights[name]
                ),
            )
            for terms, weights in weighted_terms
            for name, term in terms
            if weights[name] > 0
        ]
        return Query.boolean_query(clauses) if clauses else Query.empty_query()

    def _query_of_all(self, groups: Sequence[Sequence[tuple[str, str]]]) -> Any:
        from tantivy import Occur, Query

        def any_of(group: Sequence[tuple[str, str]]) -> Any:
            terms = (Query.term_query(self._schema, name, term, "freq") for name, term in group)
            return Query.boolean_query([(Occur.Should, term) for term in terms])

        return Query.boolean_query([(Occur.Must, any_of(group)) for group in groups])


def are_allowed(numbers: IntArray, allowed: AllowedItems | None) -> BoolArray:
    """(H,) True for items that may be shown; None allows all, and a set none beyond its end."""
    if allowed is None:
        return np.ones(len(numbers), np.bool_)
    inside = numbers < allowed.shared.num_items
    inside[inside] = allowed.admits(numbers[inside])
    return inside


def _is_in(numbers: IntArray, some: frozenset[int]) -> BoolArray:
    """(H,) True for numbers of a set."""
    if not some:
        return np.zeros(len(numbers), np.bool_)
    return np.fromiter((number in some for number in numbers.tolist()), np.bool_, len(numbers))


def generated_words(catalogue: Catalogue) -> set[str]:
    """Words of the generated texts of the items."""
    items = (item for item in catalogue.items if item.generated_text)
    return {word for item in items for word in document_of(item, ()).generated}


def word_counts(catalogue: Catalogue, fields: Sequence[str] | None = None) -> Counter[str]:
    """Word -> number of items with it in the title or body."""
    counts: Counter[str] = Counter()
    for item in catalogue.items:
        document = document_of(item, fields)
        counts.update({*document.title, *document.body})
    return counts


def _write(documents: Sequence[Document], fields: Sequence[str], folder: Path) -> None:
    import tantivy

    builder = tantivy.SchemaBuilder().add_integer_field("item", fast=True)
    for name in fields:
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder), reuse=False)
    writer = index.writer(heap_size=_WRITER_HEAP_BYTES, num_threads=1)
    for number in np.argsort(tie_order(len(documents))).tolist():
        terms = {name: " ".join(documents[number].terms(name)) for name in fields}
        writer.add_document(tantivy.Document.from_dict({"item": number, **terms}, schema))
    writer.commit()
    writer.wait_merging_threads()
    del writer, index
    for lock in folder.glob(".tantivy-*.lock"):
        lock.unlink()


def _open_index(folder: Path) -> tuple[Any, Any]:
    """Open a folder, which may be read-only, without changing it: (schema, searcher).

    Tantivy creates a lock file next to the index, so it is opened through a folder of links; the
    memory maps stay valid when the links are gone.
    """
    import tantivy

    links = Path(tempfile.mkdtemp(prefix="serendip-words-"))
    try:
        for file in folder.resolve().iterdir():
            (links / file.name).symlink_to(file)
        index = tantivy.Index.open(str(links))
        index.config_reader(reload_policy="manual")
        return index.schema, index.searcher()
    finally:
        _remove(links)


def _remove(folder: Path) -> None:
    """Remove a folder into which a thread of the library may still be writing its lock file."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.01)
