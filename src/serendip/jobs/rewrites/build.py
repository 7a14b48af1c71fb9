"""The table of rewrites of a generation: learned, written and verified before anybody asks.

The head are verified queries and those that enough people have searched. Those that few items
answer get what people searched next, and the changes that the student is sure of; those that many
answer get verified queries that say more.

What people searched next who had found nothing: the log's own rewrites.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.privacy import count_people, private_keys
from serendip.data.search_log import Search
from serendip.data.text import normalise, words
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.rewrites.scorer_data import Learner, logged_texts, made_texts
from serendip.jobs.synonyms.mine import is_proper, nearest_words
from serendip.runtime.progress import TrainOptions
from serendip.search.rewrites.candidates import CatalogueMatcher, RewriteKind
from serendip.search.rewrites.scorer import RewriteScorer
from serendip.search.rewrites.table import MOST, Near, Rewrite, RewriteTable, from_scorer
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import SAME_ATTEMPT_S, logged_queries
from serendip.search.suggestions.checks import TOP, Blocklist
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

_DOUBT = 2.0
"""People who are added to those that gave up: two of two prove less than twenty of twenty."""


def reformulated(searches: Sequence[Search], min_users: int) -> dict[str, list[Rewrite]]:
    """Text -> what enough people searched next, within minutes, and chose from.

    The confidence is the share of those people among all who chose nothing after the text. Going on
    typing is no other search, and a text of which any spelling is private is none.

    Args:
        searches: in order of time.
        min_users: people, at least, who went the same way; made-up visitors do not count.
    """
    private = private_keys(one.text for one in searches)
    gave_up: dict[str, set[str]] = defaultdict(set)
    went: dict[tuple[str, str], set[str]] = defaultdict(set)
    spelt: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Search] = {}
    for now in searches:
        before = last.get(now.user_id)
        last[now.user_id] = now
        spelt[now.key][now.text.strip()] += 1
        if not len(now.chosen):
            gave_up[now.key].add(now.user_id)
        if before is not None and _is_next(before, now):
            went[before.key, now.key].add(now.user_id)
    found: dict[str, list[Rewrite]] = defaultdict(list)
    for (key, other), users in sorted(went.items()):
        count = len(count_people(users))
        if count >= min_users and not {key, other} & private:
            share = count / (len(count_people(gave_up[key])) + _DOUBT)
            text = min(spelt[other], key=lambda one: (-spelt[other][one], one))
            found[key].append(Rewrite(text, kind_of(key, other), share))
    return dict(found)


def kind_of(key: str, other: str) -> RewriteKind:
    """What a text is to another one, by their words."""
    before, after = set(words(key)), set(words(normalise(other)))
    if after < before:
        return "broader"
    return "narrower" if after > before else "substitute"


def _is_next(before: Search, now: Search) -> bool:
    """Whether nothing was chosen before, something is now, and it is another text, not the rest."""
    is_soon = now.timestamp - before.timestamp <= SAME_ATTEMPT_S
    gave_up = not len(before.chosen) and len(now.chosen) > 0
    return is_soon and gave_up and not now.key.startswith(before.key)


MANY = 20
"""A text that so many items answer may be told more narrowly."""

MOST_NEAR = 5_000
"""Words that are compared with one another."""

_COMPLETE = 0.8
"""Of the first results of a narrower query so many have all its words."""

_SAME = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class RewriteBuilder:
    """Makes tables of one generation.

    Args:
        searcher: of the catalogue.
        queries: verified ones.
        near: word -> words nearest to it.
        config: how many people it takes, and what is unsafe.
    """

    searcher: Searcher
    queries: QueryTable
    near: Near
    config: QueriesConfig

    def build(self, searches: Sequence[Search], seed: int) -> tuple[RewriteTable, dict[str, Any]]:
        """The table as of a log, and what is told of it.

        Args:
            searches: in order of time.
            seed: of what is made to learn from.
        """
        unsafe = Blocklist.of(self.config.unsafe_words)
        near = {
            word: tuple(pair for pair in found if unsafe.allows(pair[0]))
            for word, found in self.near.items()
        }
        learner = Learner(self.searcher, near)
        made = learner.rows(made_texts(self.queries, near, seed))
        logged = learner.rows(logged_texts(searches))
        tail = RewriteTable({}, RewriteScorer.taught(made, logged), near)
        head = {
            key: tuple(one for one in found if unsafe.allows(one.text))
            for key, found in self._head(tail, searches).items()
        }
        kinds = [one.kind for found in head.values() for one in found]
        facts = {
            "texts": len(head),
            "by_kind": {kind: kinds.count(kind) for kind in ("broader", "substitute", "narrower")},
            "near": len(near),
            "learned_from": {"made": len(made), "logged": len(logged)},
        }
        return RewriteTable(head, tail.student, near), facts

    def _head(
        self, tail: RewriteTable, searches: Sequence[Search]
    ) -> dict[str, tuple[Rewrite, ...]]:
        asked = reformulated(searches, self.config.min_users)
        logged = logged_queries(searches, self.config.min_users).candidates
        matcher = self.searcher.matcher
        found: dict[str, tuple[Rewrite, ...]] = {}
        kinds = zip(self.queries.keys, self.queries.kinds, strict=True)
        verified = [key for key, kind in kinds if kind != "like"]
        for key in dict.fromkeys([*verified, *(self._key(one.text) for one in logged)]):
            if not matcher.is_answered(key):
                found[key] = self._instead(key, asked.get(key, ()), tail, matcher)
        return found | narrower(self.queries, matcher)

    def _key(self, text: str) -> str:
        return self.searcher.read(text, literal=True).key

    def _instead(
        self, key: str, asked: Sequence[Rewrite], tail: RewriteTable, matcher: CatalogueMatcher
    ) -> tuple[Rewrite, ...]:
        """What people searched next, and what the student is sure of, each once."""
        offered: list[Rewrite] = [one for one in asked if one.kind != "narrower"]
        if tail.student is not None:
            synonyms = self.searcher.synonyms
            offered += from_scorer(key, tail, tail.student, matcher, synonyms)
        known: dict[str, Rewrite] = {}
        for one in sorted(offered, key=lambda one: (-one.confidence, one.text)):
            if one.confidence >= self.searcher.config.offer_from:
                known.setdefault(self._key(one.text), one)
        return tuple(known.values())[:MOST]


def rewrites_of_state(
    state: EngineState, context: JobContext
) -> tuple[RewriteTable, dict[str, Any]]:
    """The table of a fitted state with its verified queries, and facts for the manifest."""
    config, log, options = context.settings.queries, context.log, context.options
    searcher = state.searcher.with_synonyms(context.workspace.accepted_synonyms())
    asked = (one.text for one in logged_queries(log.searches, config.min_users).candidates)
    encoder, cache = context.encoder, context.word_vectors
    near = near_words(searcher.speller.counts, map(normalise, asked), encoder, cache, options)
    builder = RewriteBuilder(searcher, state.queries, near, config)
    return builder.build(log.searches, options.seed)


def narrower(queries: QueryTable, matcher: CatalogueMatcher) -> dict[str, tuple[Rewrite, ...]]:
    """Verified query that many items answer -> those that have all its words and more.

    Those that more people searched come first, then those with more items. The confidence is the
    share of their first results that have all their words, hence all of the query's, too.
    """
    most = matcher.lexical.statistics.num_documents
    counts = [len(matcher.lexical.having_all(key, most)) for key in queries.keys]
    kept = [row for row, kind in enumerate(queries.kinds) if kind != "like"]
    order = sorted(kept, key=lambda row: (-queries.users[row], -queries.num_items[row], row))
    having: dict[str, list[int]] = defaultdict(list)
    for row in order:
        for word in set(words(queries.keys[row])):
            having[word].append(row)
    found = {}
    for row in kept:
        if counts[row] < MANY:
            continue
        own = set(words(queries.keys[row]))
        fewest = min((having[word] for word in own), key=len)
        more = [one for one in fewest if own < set(words(queries.keys[one]))]
        chosen = _unlike([one for one in more if 0 < counts[one] < counts[row]], queries, matcher)
        if chosen:
            found[queries.keys[row]] = chosen
    return found


def _unlike(
    rows: Sequence[int], queries: QueryTable, matcher: CatalogueMatcher
) -> tuple[Rewrite, ...]:
    """The first few that are complete and not mostly the results of one before."""
    shown: list[set[int]] = []
    found: list[Rewrite] = []
    for row in rows:
        results = set(queries.results[row].tolist()) - {-1}
        if len(found) == MOST or any(len(results & one) > _SAME * len(results) for one in shown):
            continue
        having = set(matcher.lexical.having_all(queries.keys[row], 100 * TOP).tolist())
        share = len(results & having) / max(1, len(results))
        if share >= _COMPLETE:
            shown.append(results)
            found.append(Rewrite(queries.texts[row], "narrower", share))
    return tuple(found)


def near_words(
    counts: Mapping[str, int],
    asked: Iterable[str],
    encoder: TextEncoder,
    cache: VectorCache,
    options: TrainOptions,
) -> Near:
    """For the most frequent words of a catalogue, and for words of queries, those nearest to them.

    Args:
        counts: word -> number of items that have it.
        asked: normal forms of texts that enough people have searched.
        encoder: of texts.
        cache: of its vectors.
        options: whose progress is drawn.
    """
    proper = [word for word, count in counts.items() if is_proper(word, count)]
    known = sorted(proper, key=lambda word: (-counts[word], word))[:MOST_NEAR]
    others = {word for text in asked for word in words(text) if word not in counts}
    return nearest_words([*known, *sorted(others)], known, encoder, cache, options)
