"""Training data of the query ranker: searches that led to a choice, and clicked suggestions.

A search that led to a choice is a positive, twice: once with an empty input, against random
queries, and once with its first letters typed, against queries and titles with this prefix. A
user's repeated searches are left out. Shown suggestions (chips) are positives if they were clicked
and led to a choice, and negatives otherwise, weighted by the inverse propensity. A chip of kind
``like`` leads to items similar to an item; any choice among such items counts for it.

The trained weights are kept only if they find the newest searches, which they have not seen, at
least as well as the prior does, among all queries of the table: random negatives are easier than
the queries that the order is made of.

All features are computed at the time of the request: the searches of a query and the choices of its
user until then. The weight of the feature ``taste``, the similarity of a query to the user's
vector, is not trained: the retriever was trained on the same choices. It stays at its prior.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.events.search_log import Search, SuggestedQuery
from serendip.data.privacy import count_people
from serendip.data.text import normalise
from serendip.jobs.context import Log
from serendip.search.logistic import RankingRows
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.ranker import (
    FEATURES,
    PRIOR_STRENGTH,
    QueryRanker,
    SuggestionChoices,
    SuggestionUser,
    query_features,
)
from serendip.search.suggestions.table import QueryTable
from serendip.search.titles import TitleIndex

MAX_SEARCHES_OF_USER = 30
"""Largest number of searches per user; the newest ones."""

MAX_SEARCHES = 2_000
"""Largest number of searches, and of answers with chips; the newest ones."""

NEGATIVES = 100
NUM_TITLES = 8
MAX_LETTERS = 3
CHOICE_WITHIN_S = 1_800.0
"""Seconds within which a choice counts for a clicked chip."""

HELD_OUT_SHARE, LEAST_HELD_OUT, MAX_HELD_OUT = 5, 20, 200
"""The newest of 5 searches is held out, if these are 20 or more, and at most 200."""

_MAX_WEIGHT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A request: its user, and the number of users and searches per query at its time."""

    user: SuggestionUser
    users: IntArray
    searches: IntArray


def train_query_ranker(
    table: QueryTable,
    titles: TitleIndex,
    log: Log,
    seed: int,
    strength: float = PRIOR_STRENGTH,
) -> QueryRanker:
    """Train the query ranker on a log; the prior without training data, or where it is better.

    Args:
        table: suggested queries.
        titles: completed while the user types.
        log: until the time of training.
        seed: of the negatives.
        strength: of the prior.
    """
    people = table.co_searches.num_people
    inputs, prior = _Inputs(table, titles, log), QueryRanker.prior(people)
    selected = sorted(_select_searches(log.searches, table))
    num_held_out = min(len(selected) // HELD_OUT_SHARE, MAX_HELD_OUT)
    searches = _build_search_rows(inputs, {*selected}, np.random.default_rng(seed))
    if num_held_out >= LEAST_HELD_OUT:
        newest = {*selected[-num_held_out:]}
        older = [part for row, part in searches if row not in newest]
        learned = _fit(older, strength, people)
        ranks = [_find_ranks(inputs, one, (learned, prior)) for one in _moments(inputs, newest)]
        found, expected = (1.0 / np.array(ranks)).mean(0)  # mean reciprocal ranks
        if found < expected:
            return prior
        searches = _build_search_rows(inputs, {*selected}, np.random.default_rng(seed))
    parts = [*(part for _, part in searches), *_build_chip_rows(inputs)]
    return _fit(parts, strength, people) if parts else prior


def _fit(parts: Sequence[RankingRows], strength: float, people: int) -> QueryRanker:
    return QueryRanker.trained(RankingRows.join(parts), len(parts), strength, people)


def _find_ranks(
    inputs: _Inputs, asked: tuple[int, Search, _Moment], rankers: Sequence[QueryRanker]
) -> list[float]:
    """The rank of a searched query by each ranker, from 1, among all queries not searched before.

    Of queries with equal scores half come before.
    """
    _, search, moment = asked
    past = inputs.table.find_rows(moment.user.searched - {search.key})
    rows = np.setdiff1d(np.arange(len(inputs.table)), past)
    features = inputs.features(rows, moment, "")
    is_searched = rows == inputs.table.rows_by_key[search.key]
    ranks = []
    for ranker in rankers:
        scores = ranker.scores(features)
        own = scores[is_searched][0]
        ranks.append(1.0 + float((scores > own).sum()) + float((scores == own).sum() - 1) / 2)
    return ranks


class _Inputs:
    """Data that the features of requests are computed from."""

    def __init__(self, table: QueryTable, titles: TitleIndex, log: Log) -> None:
        self.table, self.titles, self.log = table, titles, log
        self.counts = log.dataset.item_counts()
        self.choices = SuggestionChoices.of(table, self.counts)
        self.categories = table.categories.matrix(log.dataset.catalogue)
        self.counted = _group_keys(log.searches)

    def features(self, rows: NDArray[np.intp], moment: _Moment, typed: str) -> FloatArray:
        """(len(rows), F) features of queries of the table."""
        features = query_features(self.table, rows, self.choices, moment.user, typed)
        features[:, FEATURES.index("users")] = np.log1p(moment.users[rows])
        features[:, FEATURES.index("searches")] = np.log1p(moment.searches[rows])
        return features

    def title_features(self, key: str, moment: _Moment, typed: str) -> FloatArray:
        """Features of titles with the typed prefix, without past searches and the query ``key``."""
        titles = [
            Candidate(item.title, "title", "fields", np.array([item.item_num], np.int32))
            for item in self.titles.completions(typed, NUM_TITLES)
            if normalise(item.title) not in {key, *moment.user.searched}
        ]
        catalogue = self.log.dataset.catalogue
        table = QueryTable.unverified(titles, catalogue, self.table.categories)
        choices = SuggestionChoices.of(table, self.counts)
        return query_features(table, np.arange(len(table)), choices, moment.user, typed)


def _moments(inputs: _Inputs, selected: Set[int]) -> Iterator[tuple[int, Search, _Moment]]:
    """Row, search and time of each selected search, by time."""
    counts = _SearchCounts(inputs)
    for row, search in enumerate(inputs.log.searches):
        if row in selected:
            yield row, search, counts.moment(search.user_id, search.timestamp)
        counts.add(search)


def _build_search_rows(
    inputs: _Inputs, selected: Set[int], rng: np.random.Generator
) -> Iterator[tuple[int, RankingRows]]:
    """Row and training rows, twice, of each selected search, by time."""
    num_selected = Counter(inputs.log.searches[row].user_id for row in selected)
    for row, search, moment in _moments(inputs, selected):
        weight = 1.0 / np.sqrt(num_selected[search.user_id])
        for typed in ("", search.key[: int(rng.integers(1, MAX_LETTERS + 1))].strip()):
            yield row, _build_rows_of_search(inputs, search.key, typed, moment, weight, rng)


def _select_searches(searches: Sequence[Search], table: QueryTable) -> set[int]:
    """Rows of the searches to train on: the newest ones that led to a choice.

    Only the first search of a query by a user is selected.
    """
    first_rows: dict[tuple[str, str], int] = {}
    for row, search in enumerate(searches):
        first_rows.setdefault((search.user_id, search.key), row)
    counts: Counter[str] = Counter()
    selected: list[int] = []
    for row in sorted(first_rows.values(), reverse=True):
        search, user_id = searches[row], searches[row].user_id
        is_usable = len(search.chosen) > 0 and search.key in table.rows_by_key
        if is_usable and counts[user_id] < MAX_SEARCHES_OF_USER:
            counts[user_id] += 1
            selected.append(row)
    return set(selected[:MAX_SEARCHES])


def _build_rows_of_search(
    inputs: _Inputs,
    key: str,
    typed: str,
    moment: _Moment,
    weight: float,
    rng: np.random.Generator,
) -> RankingRows:
    """Rows of one search: the query as the positive, sampled negatives and title completions."""
    table = inputs.table
    positive = table.rows_by_key[key]
    past = [
        table.rows_by_key[other] for other in moment.user.searched if other in table.rows_by_key
    ]
    negatives = table.completions(typed) if typed else np.arange(len(table))
    negatives = negatives[~np.isin(negatives, [positive, *past])]
    sampled = rng.choice(negatives, min(NEGATIVES, len(negatives)), replace=False)
    rows = np.concatenate([[positive], sampled]).astype(np.intp)
    features = inputs.features(rows, moment, typed)
    if typed:
        features = np.concatenate([features, inputs.title_features(key, moment, typed)])
    success = np.zeros(len(features), np.float32)
    success[0] = 1.0
    return RankingRows(features, success, np.full(len(features), weight, np.float32))


def _build_chip_rows(inputs: _Inputs) -> Iterator[RankingRows]:
    """Rows of each answer with chips, by time."""
    groups: dict[tuple[str, str], list[SuggestedQuery]] = {}
    for chip in inputs.log.suggested:
        if chip.key in inputs.table.rows_by_key:
            groups.setdefault((chip.user_id, chip.request_id), []).append(chip)
    searches, counts, position = inputs.log.searches, _SearchCounts(inputs), 0
    choices = _group_choices(searches)
    for shown in list(groups.values())[-MAX_SEARCHES:]:
        now = shown[0].timestamp
        while position < len(searches) and searches[position].timestamp < now:
            counts.add(searches[position])
            position += 1
        moment = counts.moment(shown[0].user_id, now)
        rows = np.array([inputs.table.rows_by_key[chip.key] for chip in shown], np.intp)
        success = [
            chip.clicked and _is_followed(chip, _choice_times(inputs, chip, int(row), choices))
            for chip, row in zip(shown, rows, strict=True)
        ]
        weights = [min(_MAX_WEIGHT, 1.0 / chip.propensity) for chip in shown]
        yield RankingRows(
            inputs.features(rows, moment, ""),
            np.array(success, np.float32),
            np.array(weights, np.float32),
        )


class _SearchCounts:
    """Running counts of users and searches per query, and past searches per user."""

    def __init__(self, inputs: _Inputs) -> None:
        self._inputs = inputs
        self._users_of_row: dict[int, set[str]] = {}
        self._keys_of_user: dict[str, set[str]] = {}
        self._users, self._searches = np.zeros((2, len(inputs.table)), np.int32)

    def add(self, search: Search) -> None:
        """Count a search; queries outside the table count as past searches only."""
        self._keys_of_user.setdefault(search.user_id, set()).add(search.key)
        row = self._inputs.table.rows_by_key.get(search.key)
        if row is not None:
            users = self._users_of_row.setdefault(row, set())
            users.add(search.user_id)
            self._users[row], self._searches[row] = len(users), self._searches[row] + 1

    def moment(self, user_id: str, time: float) -> _Moment:
        """The request of a user at this point of the log."""
        dataset = self._inputs.log.dataset
        history = dataset.history(dataset.users.number(user_id)).before(time).item_nums
        seen = np.asarray(self._inputs.categories[np.unique(history)].any(axis=0))
        searched = frozenset(self._keys_of_user.get(user_id, ()))
        counted = self._inputs.counted.get(user_id, frozenset())
        user = SuggestionUser(history, seen=seen, searched=searched, counted=counted)
        return _Moment(user, self._users.copy(), self._searches.copy())


def _group_keys(searches: Sequence[Search]) -> dict[str, frozenset[str]]:
    """Person -> normal forms of all their searches, by which the table has counted them."""
    keys: dict[str, set[str]] = {user: set() for user in count_people(s.user_id for s in searches)}
    for search in searches:
        if search.user_id in keys:
            keys[search.user_id].add(search.key)
    return {user: frozenset(found) for user, found in keys.items()}


def _group_choices(searches: Sequence[Search]) -> dict[tuple[str, str], list[float]]:
    """(user, normal form) -> times of searches that led to a choice."""
    times: dict[tuple[str, str], list[float]] = {}
    for search in searches:
        if len(search.chosen):
            times.setdefault((search.user_id, search.key), []).append(search.timestamp)
    return times


def _choice_times(
    inputs: _Inputs,
    chip: SuggestedQuery,
    row: int,
    choices: Mapping[tuple[str, str], Sequence[float]],
) -> Sequence[float]:
    """Times at which the chip's user chose an item on the page that the chip leads to."""
    if inputs.table.kinds[row] == "like":
        return inputs.log.similar.get(chip.user_id, ())
    return choices.get((chip.user_id, chip.key), ())


def _is_followed(chip: SuggestedQuery, times: Sequence[float]) -> bool:
    """True if a choice follows within ``CHOICE_WITHIN_S``."""
    return any(0 <= time - chip.timestamp <= CHOICE_WITHIN_S for time in times)
