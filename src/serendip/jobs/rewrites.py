"""Builds the table of query rewrites of a generation, and trains the model of all others.

The table has what people searched next, of queries with few results. The model learns from texts
with few results, and what they should find. Generated texts are verified suggestions with an added
or a replaced word, and as many mixtures of two suggestions, which should find nothing. The share of
mixtures is arbitrary. Logged texts are queries with few results after which people chose items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.events.search_log import Search
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.synonyms import is_minable
from serendip.runtime.progress import Progress, TrainOptions
from serendip.search.logistic import LogisticModel, RankingRows
from serendip.search.rewrites import FEATURES, Near, RewriteTable, checked, find_reformulations
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import logged_queries
from serendip.search.suggestions.checks import TOP, Blocklist
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

MAX_NEAR_WORDS = 5_000
"""Largest number of catalogue words that are compared; the most frequent ones."""

MAX_NEAR, MIN_COSINE = 2, 0.8
"""Largest number of neighbours of a word, and their least cosine."""

_AT_ONCE = 1_024

STRENGTH = 1.0
"""Strength of the prior of a weight, in queries of evidence. Its mean is 0 for the synthetic
examples, and the weights learned from these for the log."""


NUM_GENERATED, MAX_LOGGED = 1_000, 2_000
"""Number of suggestions sampled for generated texts; largest number of logged texts, the newest."""

KINDS = ("attribute", "rule", "phrase", "query")
"""Kinds of suggestions that texts are generated from: those about several items."""


def build_rewrites(
    searcher: Searcher, queries: QueryTable, context: JobContext
) -> tuple[RewriteTable, dict[str, Any]]:
    """Build the table of a word index with verified suggestions; its report for the manifest."""
    config, log, options = context.settings.queries, context.query_log, context.options
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

    Counts are word -> number of items that have it; queries are normal forms of those that enough
    people have searched.
    """
    minable = [word for word, count in counts.items() if is_minable(word, count)]
    frequent = sorted(minable, key=lambda word: (-counts[word], word))[:MAX_NEAR_WORDS]
    others = {word for text in queries for word in words(text) if word not in counts}
    asked = [*frequent, *sorted(others)] if frequent else []
    vectors = cache.encode(encoder, asked, options.progress, "words")
    near: dict[str, tuple[tuple[str, float], ...]] = {}
    for begin in range(0, len(asked), _AT_ONCE):
        block = vectors[begin : begin + _AT_ONCE] @ vectors[: len(frequent)].T  # (B, V)
        for row, cosines in enumerate(block, begin):
            if row < len(frequent):
                cosines[row] = -1.0  # a word is not its own neighbour
            best = np.argsort(-cosines, kind="stable")[:MAX_NEAR].tolist()
            pairs = [(frequent[other], min(float(cosines[other]), 1.0)) for other in best]
            if found := tuple(pair for pair in pairs if pair[1] >= MIN_COSINE):
                near[asked[row]] = found
    return near


def build_rewrite_table(
    searcher: Searcher,
    queries: QueryTable,
    near: Near,
    searches: Sequence[Search],
    config: QueriesConfig,
    options: TrainOptions,
) -> tuple[RewriteTable, dict[str, Any]]:
    """Build the table for a log, and its report.

    Suggestions are verified, searches come by time.
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


def build_scorer_rows(
    searcher: Searcher, near: Near, texts: Mapping[str, frozenset[int]], progress: Progress
) -> list[RankingRows]:
    """Features and success of the candidate rewrites of each text with few results.

    A rewrite succeeds if it finds at least as many of the items as the text itself, and at least
    one. Texts are normal form -> items that it should find.
    """

    def count_hits(text: str, items: frozenset[int]) -> int:
        if not items:  # Half of the generated texts are mixtures, which need no search.
            return 0
        return len(items.intersection(searcher.search(text, TOP, literal=True).item_nums.tolist()))

    matcher, rows = searcher.matcher, []
    for key, items in progress.track(texts.items(), "texts to rewrite", len(texts)):
        if matcher.is_answered(key):
            continue
        rewrites, features = checked(key, matcher, lambda word: near.get(word, ()))
        if rewrites:
            least = max(1, count_hits(key, items))
            success = [count_hits(rewrite.text, items) >= least for rewrite in rewrites]
            weights = np.full(len(rewrites), 1.0 / len(rewrites), np.float32)
            rows.append(RankingRows(features, np.array(success, np.float32), weights))
    return rows


def read_logged_texts(searches: Sequence[Search]) -> dict[str, frozenset[int]]:
    """The newest searched texts -> items that were chosen after them.

    Searches of any user count, as only trained weights are stored.
    """
    chosen: dict[str, set[int]] = {}
    for search in reversed(searches):
        if len(search.chosen) and (search.key in chosen or len(chosen) < MAX_LOGGED):
            chosen.setdefault(search.key, set()).update(search.chosen.tolist())
    return {key: frozenset(items) for key, items in chosen.items()}


def generate_texts(queries: QueryTable, near: Near, seed: int) -> dict[str, frozenset[int]]:
    """Generate suggestions with an added or a replaced word, and mixtures of two suggestions.

    Returns:
        normal form -> items that it should find; empty for a mixture.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(np.isin(queries.kinds, KINDS))
    texts: dict[str, frozenset[int]] = {}
    if len(rows) < 2:
        return texts
    for row in rng.choice(rows, NUM_GENERATED).tolist():
        items = queries.items[queries.starts[row] : queries.starts[row + 1]]
        key, other = queries.keys[row], queries.keys[int(rng.choice(rows))]
        changed = _change_query(key, other, near, rng)
        texts.update(dict.fromkeys(changed, frozenset(items.tolist())))
        texts.update(dict.fromkeys(_mix_queries(key, other, rng, len(changed)), frozenset()))
    return texts


def _change_query(key: str, other: str, near: Near, rng: np.random.Generator) -> list[str]:
    """``key`` with a word of ``other`` inserted, and with a word replaced by its nearest word."""
    query_words, other_word = words(key), str(rng.choice(words(other)))
    insert_at = int(rng.integers(len(query_words) + 1))
    replace_at = int(rng.integers(len(query_words)))
    texts = []
    if other_word not in query_words:
        texts.append(" ".join((*query_words[:insert_at], other_word, *query_words[insert_at:])))
    for word, _ in near.get(query_words[replace_at], ())[:1]:
        texts.append(" ".join((*query_words[:replace_at], word, *query_words[replace_at + 1 :])))
    return texts


def _mix_queries(key: str, other: str, rng: np.random.Generator, count: int) -> list[str]:
    """``count`` random mixtures of about half the words of each query."""
    texts = []
    for _ in range(count):
        halves = [rng.permutation(words(query)) for query in (key, other)]
        both = np.concatenate([half[: (len(half) + 1) // 2] for half in halves])
        texts.append(" ".join(rng.permutation(both).tolist()))
    return texts
