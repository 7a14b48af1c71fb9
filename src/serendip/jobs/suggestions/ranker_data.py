"""Training data of the query ranker: searches that led to a choice, and clicked suggestions.

A search that led to a choice is a positive, twice: once with an empty input, against random
queries, and once with its first letters typed, against queries and titles with this prefix. A
user's repeated searches are left out. Shown suggestions (chips) are positives if they were clicked
and led to a choice, and negatives otherwise, weighted by the inverse propensity, those of
visitors of the page alike. A chip of kind
``like`` leads to items similar to an item; any choice among such items counts for it.

The trained weights are kept only if they find the newest searches, which they have not seen, at
least as well as the prior does, among all queries of the table: random negatives are easier than
the queries that the order is made of.

All features are computed at the time of the request: the searches of a query and the choices of its
user until then. The weight of the feature ``taste``, the similarity of a query to the user's
vector, is not trained: the retriever was trained on the same choices. It stays at its prior.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.events.search_log import Search, SuggestedQuery
from serendip.data.privacy import VISITOR, count_people
from serendip.data.text import normalise
from serendip.jobs.context import Log
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.ranker import (
    FEATURES,
    PRIOR_STRENGTH,
    LogisticModel,
    RankingRows,
    SuggestionUser,
    prior_ranker,
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


def train_query_ranker(table: QueryTable, titles: TitleIndex, log: Log, seed: int) -> LogisticModel:
    """Train the query ranker on a log; the prior without training data, or where it is better.

    Titles are completed while the user types; the seed is of the negatives.
    """
    prior = prior_ranker(table.co_searches.num_people)
    replay, rng = _Replay(table, titles, log), np.random.default_rng(seed)
    selected = _select_searches(log.searches, table)
    num_held_out = min(len(selected) // HELD_OUT_SHARE, MAX_HELD_OUT)
    first_held_out = len(selected) - (num_held_out if num_held_out >= LEAST_HELD_OUT else 0)
    num_of_user = Counter(log.searches[row].user_id for row in selected)
    requests: list[RankingRows] = []
    ranks: list[list[float]] = []
    learned = prior
    for place, row in enumerate(selected):
        search = log.searches[row]
        replay.advance(row)
        user = replay.user(search.user_id, search.timestamp)
        if place == first_held_out:
            learned = prior.fit(requests, PRIOR_STRENGTH)
        if place >= first_held_out:
            ranks.append(replay.find_ranks(search, user, (learned, prior)))
        weight = 1.0 / math.sqrt(num_of_user[search.user_id])
        for typed in ("", search.key[: int(rng.integers(1, MAX_LETTERS + 1))].strip()):
            requests.append(replay.build_search_rows(search, user, typed, weight, rng))
    if ranks:
        found, expected = (1.0 / np.array(ranks)).mean(0)  # mean reciprocal ranks
        if found < expected:
            return prior
    chips = _Replay(table, titles, log).build_chip_rows()
    return prior.fit([*requests, *chips], PRIOR_STRENGTH)


def _select_searches(searches: Sequence[Search], table: QueryTable) -> list[int]:
    """Rows, ascending, of the searches to train on: the newest ones that led to a choice.

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
    return sorted(selected[:MAX_SEARCHES])


class _Replay:
    """What was known at each moment of a log: the past of a user, and who searched each query."""

    def __init__(self, table: QueryTable, titles: TitleIndex, log: Log) -> None:
        self._table, self._titles, self._log = table, titles, log
        self._categories = table.categories.matrix(log.dataset.catalogue)
        # Of people, all their searches, by which the table has counted them.
        people = count_people(search.user_id for search in log.searches)
        self._counted: defaultdict[str, set[str]] = defaultdict(set)
        for search in log.searches:
            if search.user_id in people:
                self._counted[search.user_id].add(search.key)
        self._row = 0  # of the log, that was not counted yet
        self._keys: defaultdict[str, dict[str, str]] = defaultdict(dict)  # of each user
        self._users_of: defaultdict[int, set[str]] = defaultdict(set)
        self._users, self._searches = np.zeros((2, len(self._table)), np.int32)  # (Q,)

    def advance(self, row: int) -> None:
        """Go on to a row of the log; queries outside the table count as past searches only."""
        for search in self._log.searches[self._row : row]:
            self._keys[search.user_id][search.key] = search.text
            query = self._table.rows_by_key.get(search.key)
            if query is not None:
                self._users_of[query].add(search.user_id)
                self._users[query] = len(self._users_of[query])
                self._searches[query] += 1
        self._row = row

    def user(self, user_id: str, time: float) -> SuggestionUser:
        dataset = self._log.dataset
        past = dataset.history(dataset.users.number(user_id)).before(time)
        seen = np.asarray(self._categories[past.items].any(axis=0))
        counted = frozenset(self._counted.get(user_id, ()))
        searched = {**self._keys[user_id]}
        return SuggestionUser(user_id, past, seen=seen, searched=searched, counted=counted)

    def find_ranks(
        self, search: Search, user: SuggestionUser, rankers: Sequence[LogisticModel]
    ) -> list[float]:
        """The rank of a searched query by each ranker, from 1, among all not searched before.

        Of queries with equal scores half come before.
        """
        past = self._table.find_rows(user.searched.keys() - {search.key})
        rows = np.setdiff1d(np.arange(len(self._table)), past)
        features = self._features(rows, user, "")
        own = np.searchsorted(rows, self._table.rows_by_key[search.key])
        scores = np.stack([ranker.log_odds(features) for ranker in rankers])  # (2, R)
        own_scores = scores[:, own, None]
        ranks: list[float] = (
            (scores > own_scores).sum(1) + ((scores == own_scores).sum(1) + 1) / 2
        ).tolist()
        return ranks

    def build_search_rows(
        self,
        search: Search,
        user: SuggestionUser,
        typed: str,
        weight: float,
        rng: np.random.Generator,
    ) -> RankingRows:
        """Rows of one search: the query, a positive, sampled negatives and title completions."""
        table = self._table
        positive = table.rows_by_key[search.key]
        negatives = table.completions(typed) if typed else np.arange(len(table))
        negatives = np.setdiff1d(negatives, [positive, *table.find_rows(user.searched)])
        sampled = rng.choice(negatives, min(NEGATIVES, len(negatives)), replace=False)
        features = self._features(np.append(positive, sampled).astype(np.intp), user, typed)
        if typed:
            without = {search.key, *user.searched}
            features = np.concatenate([features, self._title_features(without, user, typed)])
        success = np.zeros(len(features), np.float32)
        success[0] = 1.0
        return RankingRows(features, success, np.full(len(features), weight, np.float32))

    def build_chip_rows(self) -> Iterator[RankingRows]:
        log, table = self._log, self._table
        answers: dict[tuple[str, str], list[SuggestedQuery]] = {}
        for chip in log.suggested:
            if chip.key in table.rows_by_key:
                answers.setdefault((chip.user_id, chip.request_id), []).append(chip)
        times = [search.timestamp for search in log.searches]
        followed: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for search in log.searches:
            if len(search.chosen):
                followed[search.user_id, search.key].append(search.timestamp)
        for shown in [*answers.values()][-MAX_SEARCHES:]:
            now, user_id = shown[0].timestamp, shown[0].user_id
            self.advance(bisect_left(times, now))
            rows = np.array([table.rows_by_key[chip.key] for chip in shown], np.intp)
            success = [
                chip.clicked
                and _is_followed(
                    chip,
                    log.similar.get(user_id, ())  # choices on the page that the chip leads to
                    if table.kinds[row] == "like"
                    else followed[user_id, chip.key],
                )
                for chip, row in zip(shown, rows.tolist(), strict=True)
            ]
            # What visitors of the page tell of a propensity, nobody has signed.
            most = 1.0 if user_id.startswith(VISITOR) else _MAX_WEIGHT
            weights = [min(most, 1.0 / chip.propensity) for chip in shown]
            features = self._features(rows, self.user(user_id, now), "")
            yield RankingRows(
                features, np.array(success, np.float32), np.array(weights, np.float32)
            )

    def _features(self, rows: NDArray[np.intp], user: SuggestionUser, typed: str) -> FloatArray:
        features = query_features(self._table, rows, user, typed)
        features[:, FEATURES.index("users")] = np.log1p(self._users[rows])
        features[:, FEATURES.index("searches")] = np.log1p(self._searches[rows])
        return features

    def _title_features(self, without: Set[str], user: SuggestionUser, typed: str) -> FloatArray:
        """Features of titles with the typed prefix, without some normal forms."""
        titles = [
            Candidate(title, "title", "fields", np.array([item], np.int32))
            for item in self._titles.completions(typed, NUM_TITLES)
            if normalise(title := self._titles.title(item)) not in without
        ]
        base = self._table
        table = QueryTable.of(titles, self._log.dataset.catalogue, base.categories, base.choices)
        return query_features(table, np.arange(len(table)), user, typed)


def _is_followed(chip: SuggestedQuery, times: Sequence[float]) -> bool:
    return any(0 <= time - chip.timestamp <= CHOICE_WITHIN_S for time in times)
