"""Builds the table of query rewrites of a generation.

The table has what people searched next, of queries with few results; all queries are rewritten by a
model at request time, too, which learns here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
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
from serendip.search.reformulations import find_reformulations
from serendip.search.rewrites.candidates import FEATURES
from serendip.search.rewrites.table import Near, RewriteTable
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
    searcher = replace(searcher, synonyms=context.workspace.accepted_synonyms())
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
    head = {
        key: tuple(
            way
            for way in ways
            if unsafe.allows(way.text) and not {*words(key)} < {*words(normalise(way.text))}
        )
        for key, ways in find_reformulations(searches, config.min_users).items()
        if not searcher.matcher.is_answered(key)
    }
    report = {
        "texts": len(head),
        "near": len(near),
        "learned_from": {"made": len(made), "logged": len(logged)},
    }
    return RewriteTable(head, scorer if scorer.learned_from else None, near), report
