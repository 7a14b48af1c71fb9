"""Builds the table of query rewrites of a generation.

The head of the table are the verified suggestions and the queries that enough people have searched.
Those with few results get reformulations from the log and rewrites of high confidence by the
scorer. All other queries are rewritten by the scorer at request time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.events.search_log import Search
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.rewrites.scorer_data import ScorerRowBuilder, generate_texts, read_logged_texts
from serendip.jobs.synonyms import find_nearest_words, is_minable
from serendip.runtime.progress import Progress, TrainOptions
from serendip.search.reformulations import Reformulation, find_reformulations
from serendip.search.rewrites.candidates import CatalogueMatcher, RewriteKind
from serendip.search.rewrites.scorer import RewriteScorer
from serendip.search.rewrites.table import MOST, Near, Rewrite, RewriteTable, from_scorer
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

MAX_NEAR_WORDS = 5_000
"""Largest number of catalogue words that are compared; the most frequent ones."""


@dataclass(frozen=True, slots=True, eq=False)
class RewriteBuilder:
    """Builds tables of rewrites for one generation.

    Args:
        searcher: over the catalogue.
        queries: verified suggestions.
        near: word -> its nearest words.
        config: minimum number of people, and unsafe words.
    """

    searcher: Searcher
    queries: QueryTable
    near: Near
    config: QueriesConfig

    def build(
        self, searches: Sequence[Search], options: TrainOptions
    ) -> tuple[RewriteTable, dict[str, Any]]:
        """Build the table for a log, and its report.

        Args:
            searches: by time.
            options: progress, and seed of the generated training texts.
        """
        progress = options.progress
        unsafe = Blocklist.of(self.config.unsafe_words)
        near = {
            word: tuple(pair for pair in pairs if unsafe.allows(pair[0]))
            for word, pairs in self.near.items()
        }
        row_builder = ScorerRowBuilder(self.searcher, near)
        generated = row_builder.rows(generate_texts(self.queries, near, options.seed), progress)
        logged = row_builder.rows(read_logged_texts(searches), progress)
        tail = RewriteTable({}, RewriteScorer.train(generated, logged), near)
        head = {
            key: tuple(rewrite for rewrite in rewrites if unsafe.allows(rewrite.text))
            for key, rewrites in self._build_head(tail, searches, progress).items()
        }
        kinds = [rewrite.kind for rewrites in head.values() for rewrite in rewrites]
        report = {
            "texts": len(head),
            "by_kind": {kind: kinds.count(kind) for kind in ("broader", "substitute")},
            "near": len(near),
            "learned_from": {"made": len(generated), "logged": len(logged)},
        }
        return RewriteTable(head, tail.scorer, near), report

    def _build_head(
        self, tail: RewriteTable, searches: Sequence[Search], progress: Progress
    ) -> dict[str, tuple[Rewrite, ...]]:
        """Rewrites of all head queries."""
        reformulations = find_reformulations(searches, self.config.min_users)
        logged = logged_queries(searches, self.config.min_users).candidates
        matcher = self.searcher.matcher
        head: dict[str, tuple[Rewrite, ...]] = {}
        kinds = zip(self.queries.keys, self.queries.kinds, strict=True)
        verified = [key for key, kind in kinds if kind != "like"]
        keys = dict.fromkeys([*verified, *(self._key(query.text) for query in logged)])
        for key in progress.track(keys, "rewrites of queries", len(keys)):
            if not matcher.is_answered(key):
                head[key] = self._offer_rewrites(key, reformulations.get(key, ()), tail, matcher)
        return head

    def _key(self, text: str) -> str:
        """Normal form of a text that is searched literally."""
        return self.searcher.read(text, literal=True).key

    def _offer_rewrites(
        self,
        key: str,
        logged: Sequence[Reformulation],
        tail: RewriteTable,
        matcher: CatalogueMatcher,
    ) -> tuple[Rewrite, ...]:
        """Distinct rewrites of a query with few results, from the log and by the scorer."""
        candidates = [
            Rewrite(way.text, _kind_of(key, way.key), way.share)
            for way in logged
            if not set(words(key)) < set(words(way.key))
        ]
        if tail.scorer is not None:
            synonyms = self.searcher.synonyms
            candidates += from_scorer(key, tail, tail.scorer, matcher, synonyms)
        distinct: dict[str, Rewrite] = {}
        for rewrite in sorted(candidates, key=lambda rewrite: (-rewrite.confidence, rewrite.text)):
            if rewrite.confidence >= self.searcher.config.offer_from:
                distinct.setdefault(self._key(rewrite.text), rewrite)
        return tuple(distinct.values())[:MOST]


def _kind_of(key: str, other: str) -> RewriteKind:
    return "broader" if set(words(other)) < set(words(key)) else "substitute"


def build_rewrites(
    searcher: Searcher, queries: QueryTable, context: JobContext
) -> tuple[RewriteTable, dict[str, Any]]:
    """Build the table of a word index with verified suggestions; its report for the manifest."""
    config, log, options = context.settings.queries, context.log, context.options
    searcher = searcher.with_synonyms(context.workspace.accepted_synonyms())
    logged = logged_queries(log.searches, config.min_users).candidates
    texts = (normalise(query.text) for query in logged)
    encoder, cache = context.encoder, context.word_vectors
    near = find_near_words(searcher.speller.counts, texts, encoder, cache, options)
    builder = RewriteBuilder(searcher, queries, near, config)
    return builder.build(log.searches, options)


def find_near_words(
    counts: Mapping[str, int],
    queries: Iterable[str],
    encoder: TextEncoder,
    cache: VectorCache,
    options: TrainOptions,
) -> Near:
    """Nearest catalogue words of the most frequent catalogue words and of words of queries.

    Args:
        counts: word -> number of items that have it.
        queries: normal forms of queries that enough people have searched.
        encoder: text encoder.
        cache: of word vectors.
        options: progress and seed.
    """
    minable = [word for word, count in counts.items() if is_minable(word, count)]
    frequent = sorted(minable, key=lambda word: (-counts[word], word))[:MAX_NEAR_WORDS]
    others = {word for text in queries for word in words(text) if word not in counts}
    return find_nearest_words([*frequent, *sorted(others)], frequent, encoder, cache, options)
