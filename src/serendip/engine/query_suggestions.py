"""Suggested queries of one request: completions of a typed text, else queries to search next.

Completions are titles, attribute values and verified queries that continue the typed text, in one
order. Recommendations are verified queries and the user's own searches and items, by how well they
fit the user and, on a results page, the search of that page; they are of several kinds, and differ.
Every suggestion has a result now: items may have been deleted since its query was verified.

**Variety**: the next query is the best one, given those before it. Each kind has a share of the
positions, counted from the first position on, and what shares a word with an earlier query counts
less, as in maximal marginal relevance (Carbonell and Goldstein 1998, "The Use of MMR,
Diversity-Based Reranking"). The order does not depend on how many are wanted.

**Completions** come, in the order of the answer, from these sources: attribute values that begin
with the prefix (at most two), titles that begin with it, titles with a later word that does, titles
that contain it inside a word of a script without spaces, and, only if all of these are empty,
titles that were probably meant. Every completion has results.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Literal, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.data import ActionRules, AllowedItems, Event, FloatArray, History, Query, UserPast
from serendip.data.events.search_log import IMPRESSION, SUGGESTED, choices_of
from serendip.data.items.attribute_test import parse_tests
from serendip.data.items.reception import DAY_S
from serendip.data.store.store import Store
from serendip.data.text import normalise, query_grams, title_key
from serendip.engine.explanations.translation import find_language, is_readable
from serendip.engine.request import Request, Suggestion
from serendip.engine.stages.batch import shorten_history
from serendip.engine.stages.filters import Requested
from serendip.engine.stages.list_rules import request_seed
from serendip.engine.state import EngineState
from serendip.search.config import QueriesConfig
from serendip.search.language import ENGLISH
from serendip.search.rewrites import WITHIN_S
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import LIKE, MOST_CHARACTERS, Candidate, QueryKind
from serendip.search.suggestions.checks import TOP, Blocklist, normal_form
from serendip.search.suggestions.ranker import LogisticModel, SuggestionUser, query_features
from serendip.search.suggestions.table import QueryTable

MAX_VALUES = 2


def find_completions(searcher: Searcher, prefix: str, k: int = 8) -> list[Candidate]:
    """The k best completions of a text, without repetitions.

    A blank text gives the most popular titles. A candidate has the item of its title, or the first
    items of its value.
    """
    key, titles = title_key(prefix), searcher.titles
    completing = chain(titles.completions(key, max(k, 0)), _inside(searcher, key, k))
    candidates = chain(_values(searcher, key), _titled(searcher, completing, "title"))
    found = _distinct(candidates, k)
    return found or _distinct(_titled(searcher, _meant(searcher, prefix, k), "spelling"), k)


def _distinct(candidates: Iterable[Candidate], k: int) -> list[Candidate]:
    found: dict[str, Candidate] = {}
    for candidate in candidates if k > 0 else ():
        found.setdefault(title_key(candidate.text), candidate)
        if len(found) == k:
            break
    return list(found.values())


def _values(searcher: Searcher, key: str) -> Iterator[Candidate]:
    """Values of attributes that have a normal form from one of their words on, and find items."""
    values = searcher.values
    rows = np.unique(values.word_starts.starting(key)[0]).tolist() if key else []
    ranked = sorted(rows, key=lambda row: (-len(values.ranks_at(row)), values.texts[row]))
    hits = ((values.texts[row], searcher.lexical.search(values.texts[row], TOP)) for row in ranked)
    for value, found in islice((pair for pair in hits if len(pair[1])), MAX_VALUES):
        yield Candidate(value, "attribute", "fields", np.sort(found.item_nums))


def _inside(searcher: Searcher, key: str, k: int) -> Iterator[int]:
    """Items with ``key`` in the middle of a word of their title: 커피 in 아이스커피."""
    for number in searcher.lexical.search(key, k).item_nums.tolist() if query_grams(key) else ():
        title = searcher.titles.key(number)
        if key in title:
            yield from searcher.titles.bearers(title)[:1]


def _meant(searcher: Searcher, prefix: str, k: int) -> Iterator[int]:
    """Items of titles near the text, else of completions of its corrected words, or near it."""
    reading, titles = searcher.read(prefix), searcher.titles
    for number in reading.corrected.tolist()[:k]:
        yield from titles.bearers(titles.key(number))
    start = searcher.speller.correct_beginning(reading.key)
    yield from titles.completions(start, k) or titles.near_completions(start, k)


def _titled(searcher: Searcher, items: Iterable[int], kind: QueryKind) -> Iterator[Candidate]:
    for item in items:
        title = searcher.titles.title(item)
        yield Candidate(title, kind, "fields", np.array([item], np.int32))


Group: TypeAlias = QueryKind | Literal["way out", "own"]

SHARES: Mapping[Group, float] = {
    "attribute": 0.1,
    "rule": 0.3,
    "name": 0.2,
    "series": 0.2,
    "phrase": 0.2,
    "like": 0.2,
    "written": 0.3,
    "own": 0.2,
    "query": 0.7,
}
"""Largest share of the positions of each group, rounded up; 1 for the others. ``query`` is whatever
people searched, of any kind, and ``own`` what the user did."""

SHARED_WORD = 0.6
"""What a query loses for each one before it that has a word of it, in log odds of being chosen."""

_OVER_SHARE = 1e3
"""What a query loses beyond the share of its group: it fills a list that would end otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A query that can be selected; its score is the log odds of being chosen, or higher."""

    text: str
    group: Group
    score: float


OptionT = TypeVar("OptionT", bound=Option)


def select_varied(
    options: Sequence[OptionT], accepts: Callable[[OptionT], bool]
) -> Iterator[OptionT]:
    """Yield the options, the best next one first.

    Whether one may be shown after those that were yielded is asked once for each.
    """
    words = [_words(option.text) for option in options]
    groups = sorted({option.group for option in options})
    of_group = np.array([groups.index(option.group) for option in options], np.intp)
    scores = np.array([option.score for option in options], np.float64)
    numbers: Counter[str] = Counter()
    while len(scores) and np.isfinite(scores.max()):
        position = numbers.total() + 1
        over = np.array([_loss(group, numbers[group], position) for group in groups])
        place = int(np.argmax(scores - over[of_group]))
        scores[place] = -math.inf
        if accepts(options[place]):
            yield options[place]
            numbers[options[place].group] += 1
            shares_word = [not words[place].isdisjoint(others) for others in words]
            scores -= SHARED_WORD * np.array(shares_word)


@lru_cache(maxsize=16_384)
def _words(text: str) -> frozenset[str]:
    return normal_form(text) - ENGLISH


def _loss(group: Group, number: int, position: int) -> float:
    """What the group of a query costs it at a position, from 1, after so many of its group."""
    if number < math.ceil(SHARES.get(group, 1.0) * position):
        return 0.0
    return 2 * _OVER_SHARE if group == "attribute" else _OVER_SHARE


MAX_COMPLETIONS = 128  # verified queries that the ranker orders for a typed text
# The user's own searches and liked items that are candidates.
MAX_OWN_SEARCHES, MAX_OWN_ITEMS = 5, 3
_YOUNG_FROM = 0.5  # share of results in young categories from which on a query leads to these
_MAX_OVERLAP = 0.5  # largest share of a query's first results that a better query may have too
# They lead to an item, whether or not the word search finds it.
_ITEM_KINDS = ("like", "title", "spelling")
_FIRST = 1e9  # score of what comes first; far above any of the ranker
_UNREADABLE = 1e12  # what a query in letters that its reader may not know loses: it comes last
# Focus of a phrase, times its words, below which it is about nothing: it is not recommended, and
# does not complete a text.
_LEAST_FOCUS, _LEAST_COMPLETED = 0.14, 0.05
# Scale of what chance adds to the scores of queries that nobody searched, in log odds. So what is
# level is shown in turn, to one user another day, to visitors another hour.
_CHANCE = 0.3
_YOUNG_POOL = 20  # queries of young categories that some are drawn from
_MAX_OF_KIND = 64  # ranked queries of one kind of a table
_MAX_EVENTS = 50  # newest events of a user whose searches may be suggested again
MAX_USERS = 256
MAX_NUMBERS = 16_000_000  # cached users times their scores, one per item: 64 MB
_MAX_LATEST = 100  # newest events, impressions among them, that tell whether the last search failed
_MODEL = "retriever"  # its scores are the taste of a user
_find_blocklist = lru_cache(Blocklist.of)


@dataclass(frozen=True, slots=True, eq=False)
class _RankedQuery(Option):
    """A row of a query table with its score."""

    table: QueryTable
    row: int
    kind: QueryKind
    item: int  # that the query leads to; -1 = it leads to no single one

    @classmethod
    def of(cls, table: QueryTable, row: int, group: Group, score: float) -> Self:
        item = int(table.single[row])
        return cls(table.texts[row], group, score, table, row, table.kinds[row], item)

    @property
    def key(self) -> str:
        return self.table.keys[self.row]  # normal form of the query

    def is_topic(self, least: float) -> bool:
        """False for a phrase such as "later", which says nothing of what it leads to."""
        table, row = self.table, self.row
        if self.kind != "phrase" or not len(table.focus) or table.searches[row]:
            return True
        return bool(table.focus[row] * table.num_words[row] >= least)


@dataclass(frozen=True, eq=False)
class QuerySuggester:
    """Suggests queries to one user.

    Args:
        state: of the engine.
        config: words that are never suggested, and the share of young categories.
        request: its ``k`` queries are suggested; its filters are those of its text, or of its page.
        now: Unix seconds; NaN = no category is young.
    """

    state: EngineState
    config: QueriesConfig
    request: Request
    user: SuggestionUser
    now: float = math.nan

    def complete(self) -> list[Suggestion]:
        """The best completions of the typed text.

        On the results page of this text, which found nothing then, what people searched with
        success after it comes first.
        """
        searcher, table, user = self.state.searcher, self.state.queries, self.user
        key, k = normalise(self.request.text), self.request.k
        completions = find_completions(searcher, self.request.text, k)
        rows = self._complete_key(key)
        if not len(rows) and all(completion.kind == "spelling" for completion in completions):
            rows = self._complete_key(searcher.speller.correct_beginning(key))
        candidates = [
            one
            for one in completions
            if _find_blocklist(self.config.unsafe_words).allows(one.text)
            and (one.kind != "attribute" or normalise(one.text) not in table.rows_by_key)
        ]
        queries = [
            *(self._ways_out(key) if normalise(self.request.after) == key else ()),
            *_rank(table, rows, self.state.query_ranker, user, key),
            *self._rank_proposed(candidates, user, key),
        ]
        visible = (
            query
            for query in _best_first(queries)
            if query.item not in user.hidden and query.is_topic(_LEAST_COMPLETED)
        )
        return [self._show(query) for query in islice(filter(self._has_results, visible), k)]

    def recommend(self) -> list[Suggestion]:
        """The best queries to search next.

        What people searched with success after ``after`` without success, or after the user's own
        search that has just failed, comes first, at half of the positions at most. With a language,
        queries in letters that its readers may not know come last.
        """
        state, request, user = self.state, self.request, self.user
        key, table = normalise(request.after), state.queries
        rng = np.random.default_rng(_seed(key, user, self.now))
        own = self._own_candidates()
        if key:
            results = state.searcher.search(request.after, TOP).item_nums
            user = replace(user, page=results[::-1], searched={**user.searched, key: ""})
        queries = [
            *self._ways_out(key or user.failed),
            *_rank(table, self._passing_rows, state.query_ranker, user, "", rng),
            *self._rank_proposed(own, user, "", rng),
        ]
        if (language := find_language(request.language)) is not None:
            queries = [
                query
                if query.group == "way out" or is_readable(query.text, language)
                else replace(query, score=query.score - _UNREADABLE)
                for query in queries
            ]
        ordered = [
            query
            for query in _best_first(queries)
            if query.key != key and query.item not in user.unwanted and query.is_topic(_LEAST_FOCUS)
        ]
        accepts = self._differing()
        best = list(islice(select_varied(ordered, accepts), request.k))
        first, chance = self._draw_young(ordered, rng)
        others = (query for query in best if query not in first)
        shown = [self._show(query, chance) for query in first] + list(map(self._show, others))
        return shown[: request.k]

    def _ways_out(self, key: str) -> list[_RankedQuery]:
        table = self.state.queries
        rows = table.co_searches.ways_out.get(key, ())[: (self.request.k + 1) // 2]
        return [
            _RankedQuery.of(table, row, "way out", _FIRST - place) for place, row in enumerate(rows)
        ]

    def _draw_young(
        self, queries: Sequence[_RankedQuery], rng: np.random.Generator
    ) -> tuple[list[_RankedQuery], float]:
        table, most = self.state.queries, int(self.config.young_share * self.request.k)
        young = table.find_young(self.now)
        if not most or not young.any():
            return [], 1.0
        shares, accepts = table.shares, self._differing()
        is_young = shares[:, young].sum(1) >= _YOUNG_FROM * np.maximum(shares.sum(1), 1e-9)  # (Q,)
        leading = (query for query in queries if query.table is table and is_young[query.row])
        pool = list(islice(filter(accepts, leading), _YOUNG_POOL))
        # Unknown visitors would all get the same draw, so they get the best ones instead.
        if not self.user.user_id or len(pool) <= most:
            return pool[:most], 1.0
        drawn = np.sort(rng.permutation(len(pool))[:most])
        return [pool[place] for place in drawn.tolist()], most / len(pool)

    @cached_property
    def _passing(self) -> AllowedItems | None:
        """The items that pass the filters of the request; None without filters.

        Raises:
            DataError: a filter is none, or of an attribute that no item has.
        """
        if not self.request.filters:
            return None
        query = Query("search", filters=parse_tests(self.request.filters, self.state.catalogue))
        return Requested().restrict(AllowedItems.all(self.state.num_items), query, self.state)

    @property
    def _passing_rows(self) -> NDArray[np.intp]:
        table, passing = self.state.queries, self._passing
        if passing is None:
            return np.arange(len(table))
        return np.flatnonzero(table.sums(passing.shared.mask) > 0)

    def _complete_key(self, key: str) -> NDArray[np.intp]:
        table = self.state.queries
        rows = table.completions(key) if key else np.empty(0, np.intp)
        if self._passing is not None:
            rows = np.intersect1d(rows, self._passing_rows)
        popularity = np.log1p(table.users[rows]) + 0.3 * np.log1p(table.num_choices[rows])
        return rows[np.argsort(-popularity, kind="stable")[:MAX_COMPLETIONS]]

    def _own_candidates(self) -> list[Candidate]:
        state, user, candidates = self.state, self.user, list[Candidate]()
        for text in islice(user.searched.values(), MAX_OWN_SEARCHES):
            if _find_blocklist(self.config.unsafe_words).allows(text):
                items = state.searcher.search(text, TOP).item_nums
                candidates.append(Candidate(text, "query", "own", np.sort(items)))
        visible = (item for item in user.liked if not state.hidden[item])
        for item in islice(visible, MAX_OWN_ITEMS):
            title = state.catalogue[item].title
            text = f"{LIKE}{title}"
            if title and len(text) <= MOST_CHARACTERS:
                candidates.append(Candidate(text, "like", "own", np.array([item], np.int32)))
        in_table = state.queries.rows_by_key
        return [one for one in candidates if normalise(one.text) not in in_table]

    def _rank_proposed(
        self,
        candidates: Sequence[Candidate],
        user: SuggestionUser,
        typed: str,
        rng: np.random.Generator | None = None,
    ) -> list[_RankedQuery]:
        state, base = self.state, self.state.queries
        table = QueryTable.of(candidates, state.catalogue, base.categories, base.choices)
        return _rank(table, np.arange(len(table)), state.query_ranker, user, typed, rng)

    def _differing(self) -> Callable[[_RankedQuery], bool]:
        """Tells which queries have a result, and do not share most of them with an earlier one; all
        of an item do not.
        """
        earlier: list[frozenset[int]] = []

        def accepts(query: _RankedQuery) -> bool:
            if query.kind == "like":
                return self._has_results(query)
            results = frozenset(query.table.results[query.row].tolist()) - {-1}
            limit = _MAX_OVERLAP * len(results)
            is_new = all(len(results & other) <= limit for other in earlier)
            if is_new:
                earlier.append(results)
            return is_new and self._has_results(query)

        return accepts

    def _has_results(self, query: _RankedQuery) -> bool:
        """Whether a query has a result now: items may be deleted or have other texts.

        With items that pass the filters of a page, one of these with all words of the query.
        """
        state, item, passing = self.state, query.item, self._passing
        is_filtered = passing is not None
        if item >= 0 and (state.hidden[item] or (passing is not None and item not in passing)):
            return False
        if item >= 0 and query.kind in _ITEM_KINDS:
            return True
        return len(state.searcher.lexical.search(query.text, 1, passing, needs_all=is_filtered)) > 0

    def _show(self, query: _RankedQuery, propensity: float = 1.0) -> Suggestion:
        has_item = query.item >= 0 and query.kind != "written"
        item_id = self.state.catalogue[query.item].item_id if has_item else ""
        return Suggestion(query.text, query.kind, item_id, propensity)


def _rank(
    table: QueryTable,
    rows: NDArray[np.intp],
    ranker: LogisticModel,
    user: SuggestionUser,
    typed: str,
    rng: np.random.Generator | None = None,
) -> list[_RankedQuery]:
    """The best rows (R,) of a table by the scores of the ranker, of each kind and of those that
    people searched; with ``rng``, chance has a part in those that nobody did.
    """
    if not len(rows):
        return []
    scores = ranker.log_odds(query_features(table, rows, user, typed))  # (R,)
    is_searched = table.searches[rows] > 0
    if rng is not None:
        scores += np.where(is_searched, 0.0, rng.gumbel(0.0, _CHANCE, len(scores)))
    kinds = np.where(is_searched, -1, table.kind_numbers[rows])
    order = np.lexsort((-scores, kinds))
    place_in_kind = np.arange(len(order)) - np.searchsorted(kinds[order], kinds[order])
    best = order[place_in_kind < _MAX_OF_KIND]
    return [
        _RankedQuery.of(table, row, _group(table, row, user), score)
        for score, row in zip(scores[best].tolist(), rows[best].tolist(), strict=True)
    ]


def _group(table: QueryTable, row: int, user: SuggestionUser) -> Group:
    if table.keys[row] in user.searched:
        return "own"
    return "query" if table.searches[row] else table.kinds[row]


def _best_first(queries: Iterable[_RankedQuery]) -> list[_RankedQuery]:
    by_key: dict[str, _RankedQuery] = {}
    for query in sorted(queries, key=lambda query: (-query.score, query.text)):
        by_key.setdefault(query.key or query.text, query)
    return list(by_key.values())


def _seed(key: str, user: SuggestionUser, now: float) -> int:
    """Of what chance decides: a user's changes with the day and their next choice, that of visitors
    with the hour.
    """
    day = "" if math.isnan(now) else f" {now // DAY_S:.0f}"
    return request_seed(Query("search", key + day, user_id=user.user_id, time=now), user.past)


class SuggestionUsers:
    """Cache of user features, each valid until the user's next choice; safe for many threads."""

    def __init__(self, store: Store, rules: ActionRules) -> None:
        self._store, self._rules = store, rules
        self._lock = threading.Lock()
        self._removals = 0  # of the log when the cached users were read
        self._cache: OrderedDict[tuple[str, int, float, bytes, int], SuggestionUser] = OrderedDict()

    def of(self, state: EngineState, user_id: str, past: UserPast, removals: int) -> SuggestionUser:
        """A user at the time of a request.

        Erased searches are forgotten: ``removals`` is how often events were removed from the log.
        """
        history, unwanted = past.history, past.rejected.reaching("recommendations")
        hidden = past.rejected.reaching("everywhere")
        last = float(history.timestamps[-1]) if len(history) else 0.0
        rejected = unwanted.tobytes() + b"|" + hidden.tobytes()
        key = (user_id, len(history), last, rejected, state.num_items)
        with self._lock:
            if removals != self._removals:
                self._cache.clear()
                self._removals = removals
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        events = self._store.log.history(user_id, _MAX_EVENTS, self._rules.ignore)
        searches = [event.query.strip() for event in events[::-1] if event.surface != SUGGESTED]
        taste = _taste(state, user_id, history)
        user = replace(
            build_user(state, history, taste, searches),
            user_id=user_id,
            unwanted=frozenset(unwanted.tolist()),
            hidden=frozenset(hidden.tolist()),
        )
        with self._lock:
            if removals == self._removals:
                self._cache[key] = user
            while len(self._cache) > max_cached_users(state.num_items):
                self._cache.popitem(last=False)
        return user

    def find_failed(self, request: Request, now: float) -> str:
        """Normal form of a user's last search, if nothing was chosen since; else empty.

        Empty on a page of results, too, whose own search is the last one. Events next to each other
        are of one search if they have its text or its request.

        It is read at every request, as a search without a choice changes nothing else of a user;
        only events of the last half hour are read, which most users have none of.

        Args:
            request: its user, and ``after``: the search of the page.
            now: Unix seconds; earlier searches than ``WITHIN_S`` before are of another occasion.
        """
        if not request.user_id or request.after:
            return ""
        ignored = [action for action in self._rules.ignore if action != IMPRESSION]
        latest = self._store.log.history(request.user_id, _MAX_LATEST, ignored, now - WITHIN_S)
        since: list[Event] = []  # newest first
        failed = ""
        for event in reversed([event for event in latest if event.surface != SUGGESTED]):
            key = normalise(event.query)
            is_same = bool(since and event.request_id) and event.request_id == since[-1].request_id
            if failed and not is_same and key != failed:
                break
            failed = failed or key
            since.append(event)
        return "" if choices_of(since[::-1], self._rules) else failed


def max_cached_users(num_items: int) -> int:
    """Maximum number of cached users for a catalogue of N items, at least 1."""
    return max(1, min(MAX_USERS, MAX_NUMBERS // max(1, num_items)))


def build_user(
    state: EngineState, history: History, taste: FloatArray, searches: Iterable[str]
) -> SuggestionUser:
    """A user at the time of a request, without an id, who has rejected nothing.

    Choices are in order, searches the newest first; ``taste`` (N,) is as of ``SuggestionUser``.
    """
    seen = state.queries.categories.among(state.catalogue, history.item_nums)
    searched: dict[str, str] = {}
    for text in searches:
        searched.setdefault(normalise(text), text)
    searched.pop("", None)
    return SuggestionUser(
        past=history,
        taste=taste,
        seen=seen,
        searched=searched,
        liked=tuple(dict.fromkeys(history.item_nums[history.liked][::-1].tolist())),
    )


def _taste(state: EngineState, user_id: str, history: History) -> FloatArray:
    """(N,) float32 retriever scores of all items, standardised to mean 0 and deviation 1.

    Empty if they are unknown: no retriever, no history, or equal scores.
    """
    model = state.models.get(_MODEL)
    if model is None or not len(history):
        return np.empty(0, np.float32)
    query = shorten_history(Query("home", user_id=user_id, history=history), state)
    scores = model.score_all([query])[0]  # (N,)
    finite = np.isfinite(scores)
    spread = float(scores[finite].std()) if finite.any() else 0.0
    if spread == 0.0:
        return np.empty(0, np.float32)
    mean = float(scores[finite].mean())
    return np.where(finite, (scores - mean) / spread, 0.0).astype(np.float32)
