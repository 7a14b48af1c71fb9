"""Builds the table of query rewrites of a generation.

The head of the table are the verified suggestions and the queries that enough people have searched.
Those with few results get reformulations from the log and rewrites of high confidence by the model.
All other queries are rewritten by the model at request time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.events.search_log import Search
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.rewrites.scorer_data import build_scorer_rows, generate_texts, read_logged_texts
from serendip.jobs.synonyms import find_nearest_words, is_minable
from serendip.runtime.progress import TrainOptions
from serendip.search.logistic import LogisticModel
from serendip.search.reformulations import Reformulation, find_reformulations
from serendip.search.rewrites.candidates import FEATURES
from serendip.search.rewrites.table import MOST, Near, Rewrite, RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import Blocklist
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

MAX_NEAR_WORDS = 5_000
"""Largest number of catalogue words that are compared; the most frequent ones."""

STRENGTH = 1.0
"""Strength of the prior of a weight, in queries of evidence. Its mean is 0 for the synthetic
examples, and the weights learned from these for the log."""


def build_rewrites(
    searcher: Searcher, queries: QueryTable, context: JobContext
) -> tuple[RewriteTable, dict[str, Any]]:
    """Build the table of a word index with verified suggestions; its report for the manifest."""
    config, log, options = context.settings.queries, context.log, context.options
    searcher = searcher.with_synonyms(context.workspace.accepted_synonyms())
    logged = logged_queries(log.searches, config.min_users)
    texts = (normalise(query.text) for query in logged)
    encoder, cache = context.encoder, context.word_vectors
    near = find_near_words(searcher.speller.counts, texts, encoder, cache, options)
    return build_rewrite_table(searcher, queries, near, log.searches, config, options)


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


def build_rewrite_table(
    searcher: Searcher,
    queries: QueryTable,
    near: Near,
    searches: Sequence[Search],
    config: QueriesConfig,
    options: TrainOptions,
) -> tuple[RewriteTable, dict[str, Any]]:
    """Build the table for a log, and its report.

    Args:
        searcher: over the catalogue.
        queries: verified suggestions.
        near: word -> its nearest words.
        searches: by time.
        config: minimum number of people, and unsafe words.
        options: progress, and seed of the generated training texts.
    """
    progress, unsafe = options.progress, Blocklist.of(config.unsafe_words)
    near = {
        word: tuple(pair for pair in pairs if unsafe.allows(pair[0]))
        for word, pairs in near.items()
    }
    made_texts = generate_texts(queries, near, options.seed)
    made = build_scorer_rows(searcher, near, made_texts, progress)
    logged = build_scorer_rows(searcher, near, read_logged_texts(searches), progress)
    scorer = LogisticModel.prior(FEATURES, {}).fit(made, STRENGTH).fit(logged, STRENGTH)
    tail = RewriteTable({}, scorer if scorer.learned_from else None, near)
    reformulations = find_reformulations(searches, config.min_users)
    matcher, head = searcher.matcher, dict[str, tuple[Rewrite, ...]]()
    keys = _head_keys(searcher, queries, searches, config.min_users)
    for key in progress.track(keys, "rewrites of queries", len(keys)):
        if not matcher.is_answered(key):
            rewrites = [
                *_from_log(key, reformulations.get(key, ())),
                *tail.score(key, matcher, searcher.synonyms),
            ]
            offered = _offer_rewrites(searcher, rewrites)
            head[key] = tuple(rewrite for rewrite in offered if unsafe.allows(rewrite.text))
    kinds = [rewrite.kind for rewrites in head.values() for rewrite in rewrites]
    report = {
        "texts": len(head),
        "by_kind": {kind: kinds.count(kind) for kind in ("broader", "substitute")},
        "near": len(near),
        "learned_from": {"made": len(made), "logged": len(logged)},
    }
    return RewriteTable(head, tail.scorer, near), report


def _head_keys(
    searcher: Searcher, queries: QueryTable, searches: Sequence[Search], min_users: int
) -> dict[str, None]:
    """Normal forms of verified suggestions, and of what people searched, taken literally."""
    kinds = zip(queries.keys, queries.kinds, strict=True)
    verified = [key for key, kind in kinds if kind != "like"]
    logged = (query.text for query in logged_queries(searches, min_users))
    return dict.fromkeys([*verified, *(searcher.read(text, literal=True).key for text in logged)])


def _from_log(key: str, reformulations: Sequence[Reformulation]) -> list[Rewrite]:
    """What people searched next, but for what is narrower."""
    typed, rewrites = set(words(key)), []
    for way in reformulations:
        other = set(words(way.key))
        if not typed < other:
            rewrites.append(
                Rewrite(way.text, "broader" if other < typed else "substitute", way.share)
            )
    return rewrites


def _offer_rewrites(searcher: Searcher, rewrites: Sequence[Rewrite]) -> list[Rewrite]:
    """The surest distinct rewrites."""
    distinct: dict[str, Rewrite] = {}
    for rewrite in sorted(rewrites, key=lambda rewrite: (-rewrite.confidence, rewrite.text)):
        if rewrite.confidence >= searcher.config.offer_from:
            distinct.setdefault(searcher.read(rewrite.text, literal=True).key, rewrite)
    return [*distinct.values()][:MOST]
