"""Builds the table of query rewrites of a generation.

The head of the table are the verified suggestions and the queries that enough people have searched.
Head queries with few results get reformulations from the log (what people searched next, after
choosing nothing) and rewrites of high confidence by the scorer. Head queries with many results get
narrower verified suggestions. All other queries are rewritten by the scorer at request time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import normalise, words
from serendip.jobs.context import JobContext
from serendip.jobs.rewrites.scorer_data import ScorerRowBuilder, generate_texts, read_logged_texts
from serendip.jobs.synonyms import find_nearest_words, is_minable
from serendip.runtime.progress import Progress, TrainOptions
from serendip.search.rewrites.candidates import CatalogueMatcher, RewriteKind
from serendip.search.rewrites.scorer import RewriteScorer
from serendip.search.rewrites.table import MOST, Near, Rewrite, RewriteTable, from_scorer
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import SAME_ATTEMPT_S, logged_queries
from serendip.search.suggestions.checks import TOP, Blocklist
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

_PRIOR_USERS = 2.0
"""Smoothing of the confidence of a reformulation: pseudo-count of people who gave up."""


def read_reformulations(searches: Sequence[Search], min_users: int) -> dict[str, list[Rewrite]]:
    """Query -> reformulations by enough people: searched soon after it, and chosen from.

    The confidence is the share of these people among all who chose nothing after the query. A
    longer text with the query as its prefix is no reformulation; queries with a private spelling
    are left out.

    Args:
        searches: by time.
        min_users: minimum number of people per reformulation; simulated users do not count.
    """
    private = private_keys(search.text for search in searches)
    gave_up: dict[str, set[str]] = defaultdict(set)
    read_reformulations: dict[tuple[str, str], set[str]] = defaultdict(set)
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Search] = {}
    for search in searches:
        previous = last.get(search.user_id)
        last[search.user_id] = search
        spellings[search.key][search.text.strip()] += 1
        if not len(search.chosen):
            gave_up[search.key].add(search.user_id)
        if previous is not None and _is_reformulation(previous, search):
            read_reformulations[previous.key, search.key].add(search.user_id)
    rewrites: dict[str, list[Rewrite]] = defaultdict(list)
    for (key, other), users in sorted(read_reformulations.items()):
        count = len(count_people(users))
        if count >= min_users and not {key, other} & private:
            share = count / (len(count_people(gave_up[key])) + _PRIOR_USERS)
            counts = spellings[other]
            text = min(counts, key=lambda spelling: (-counts[spelling], spelling))
            rewrites[key].append(Rewrite(text, classify_rewrite(key, other), share))
    return dict(rewrites)


def classify_rewrite(key: str, other: str) -> RewriteKind:
    """Kind of the rewrite of ``key`` into ``other``, by their sets of words."""
    before, after = set(words(key)), set(words(normalise(other)))
    if after < before:
        return "broader"
    return "narrower" if after > before else "substitute"


def _is_reformulation(previous: Search, search: Search) -> bool:
    """True if a user chose nothing, soon searched another text and then chose something."""
    is_soon = search.timestamp - previous.timestamp <= SAME_ATTEMPT_S
    gave_up = not len(previous.chosen) and len(search.chosen) > 0
    return is_soon and gave_up and not search.key.startswith(previous.key)


MIN_RESULTS_TO_NARROW = 20
"""Number of matching items from which on a query gets narrower rewrites."""

MAX_NEAR_WORDS = 5_000
"""Largest number of catalogue words that are compared; the most frequent ones."""

_MIN_COMPLETE_SHARE = 0.8
"""Minimum share of the first results of a narrower query that have all its words."""

_MAX_OVERLAP = 0.5
"""Largest share of the results of a narrower query that are results of a previous one."""


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
            "by_kind": {kind: kinds.count(kind) for kind in ("broader", "substitute", "narrower")},
            "near": len(near),
            "learned_from": {"made": len(generated), "logged": len(logged)},
        }
        return RewriteTable(head, tail.scorer, near), report

    def _build_head(
        self, tail: RewriteTable, searches: Sequence[Search], progress: Progress
    ) -> dict[str, tuple[Rewrite, ...]]:
        """Rewrites of all head queries."""
        reformulations = read_reformulations(searches, self.config.min_users)
        logged = logged_queries(searches, self.config.min_users).candidates
        matcher = self.searcher.matcher
        head: dict[str, tuple[Rewrite, ...]] = {}
        kinds = zip(self.queries.keys, self.queries.kinds, strict=True)
        verified = [key for key, kind in kinds if kind != "like"]
        keys = dict.fromkeys([*verified, *(self._key(query.text) for query in logged)])
        for key in progress.track(keys, "rewrites of queries", len(keys)):
            if not matcher.is_answered(key):
                logged_rewrites = reformulations.get(key, ())
                head[key] = self._offer_rewrites(key, logged_rewrites, tail, matcher)
        return head | find_narrower(self.queries, matcher, progress)

    def _key(self, text: str) -> str:
        """Normal form of a text that is searched literally."""
        return self.searcher.read(text, literal=True).key

    def _offer_rewrites(
        self, key: str, logged: Sequence[Rewrite], tail: RewriteTable, matcher: CatalogueMatcher
    ) -> tuple[Rewrite, ...]:
        """Distinct rewrites of a query with few results, from the log and by the scorer."""
        candidates = [rewrite for rewrite in logged if rewrite.kind != "narrower"]
        if tail.scorer is not None:
            synonyms = self.searcher.synonyms
            candidates += from_scorer(key, tail, tail.scorer, matcher, synonyms)
        distinct: dict[str, Rewrite] = {}
        for rewrite in sorted(candidates, key=lambda rewrite: (-rewrite.confidence, rewrite.text)):
            if rewrite.confidence >= self.searcher.config.offer_from:
                distinct.setdefault(self._key(rewrite.text), rewrite)
        return tuple(distinct.values())[:MOST]


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


def find_narrower(
    queries: QueryTable, matcher: CatalogueMatcher, progress: Progress
) -> dict[str, tuple[Rewrite, ...]]:
    """Suggestion with many results -> suggestions with all its words and more.

    They are ordered by people who searched them, then by number of items. The confidence is the
    share of their first results that have all their words.
    """
    num_documents = matcher.lexical.statistics.num_documents
    counts = [len(matcher.lexical.having_all(key, num_documents)) for key in queries.keys]
    rows = [row for row, kind in enumerate(queries.kinds) if kind != "like"]
    order = sorted(rows, key=lambda row: (-queries.users[row], -queries.num_items[row], row))
    rows_by_word: dict[str, list[int]] = defaultdict(list)
    for row in order:
        for word in set(words(queries.keys[row])):
            rows_by_word[word].append(row)
    narrower = {}
    for row in progress.track(rows, "narrower queries", len(rows)):
        if counts[row] < MIN_RESULTS_TO_NARROW:
            continue
        query_words = set(words(queries.keys[row]))
        candidates = min((rows_by_word[word] for word in query_words), key=len)
        longer = [
            other
            for other in candidates
            if query_words < set(words(queries.keys[other])) and 0 < counts[other] < counts[row]
        ]
        if rewrites := _select_distinct(longer, queries, matcher):
            narrower[queries.keys[row]] = rewrites
    return narrower


def _select_distinct(
    rows: Sequence[int], queries: QueryTable, matcher: CatalogueMatcher
) -> tuple[Rewrite, ...]:
    """The first ``MOST`` queries whose results have all their words and overlap little."""
    selected: list[Rewrite] = []
    selected_results: list[set[int]] = []
    for row in rows:
        if len(selected) == MOST:
            break
        results = set(queries.results[row].tolist()) - {-1}
        limit = _MAX_OVERLAP * len(results)
        if any(len(results & previous) > limit for previous in selected_results):
            continue
        matches = set(matcher.lexical.having_all(queries.keys[row], 100 * TOP).tolist())
        share = len(results & matches) / max(1, len(results))
        if share >= _MIN_COMPLETE_SHARE:
            selected_results.append(results)
            selected.append(Rewrite(queries.texts[row], "narrower", share))
    return tuple(selected)


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
