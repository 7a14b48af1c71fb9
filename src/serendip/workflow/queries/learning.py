"""What the ranker of suggested queries learns from: searches that led to a choice, and chips.

A search that led to a choice is what somebody wanted to be offered: against queries that nobody
wanted then, drawn at random, once before anything was typed and once among those that go on from
its first letters. Of chips it is known what was shown: the one that was clicked and led to a choice
against those beside it, each weighed by 1 / its chance of being shown.

Everything is told as of the moment of asking: how often a query had been searched *by then*, what
its user had chosen *by then*. How well a query suits a user's vector (``taste``) is not learned, as
the retriever has learned from the very choices that would be foretold: its weight stays the
prior's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.searches import Search, SuggestedQuery
from serendip.search.query_features import FEATURES, Asker, Choices, query_features
from serendip.search.query_ranker import PRIOR_STRENGTH, QueryRanker, RankingRows
from serendip.search.query_table import QueryTable

MOST_SEARCHES = 2_000
"""Newest searches that are learned from."""

NEGATIVES = 100
MOST_LETTERS = 3
CHOICE_WITHIN_S = 1_800.0
_LARGEST_WEIGHT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Everything that was logged about queries.

    Args:
        dataset: whose histories are known.
        searches: in order of time.
        suggested: chips that were seen, in order of time.
    """

    dataset: Dataset
    searches: Sequence[Search]
    suggested: Sequence[SuggestedQuery] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A request as it was: who asked, and what had been searched by then."""

    asker: Asker
    users: IntArray
    searches: IntArray


def train_query_ranker(
    table: QueryTable, log: Log, seed: int, strength: float = PRIOR_STRENGTH
) -> QueryRanker:
    """Learn from a log what is taken; the prior where it says nothing.

    Args:
        table: queries that are suggested.
        log: up to the moment of training.
        seed: of the drawing of what was not wanted.
        strength: of the prior.
    """
    parts = list(_requests(table, log, np.random.default_rng(seed)))
    if not parts:
        return QueryRanker.prior()
    rows = RankingRows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.success for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
    return QueryRanker.trained(rows, len(parts), strength)


def _requests(table: QueryTable, log: Log, rng: np.random.Generator) -> Iterator[RankingRows]:
    """Rows of each request, in order of time."""
    choices = Choices.of(table, log.dataset.item_counts())
    wanted = [one for one in log.searches if len(one.chosen) and one.key in table.rows_by_key]
    first = wanted[-MOST_SEARCHES].timestamp if len(wanted) > MOST_SEARCHES else -np.inf
    of_user = Counter(one.user_id for one in wanted)
    tally = _Tally(table)
    for one in log.searches:
        if len(one.chosen) and one.key in table.rows_by_key and one.timestamp >= first:
            moment = tally.moment(log.dataset, one.user_id, one.timestamp)
            weight = 1.0 / np.sqrt(of_user[one.user_id])
            for typed in ("", one.key[: int(rng.integers(1, MOST_LETTERS + 1))].strip()):
                yield _of_search(table, one.key, typed, moment, choices, weight, rng)
        tally.add(one)
    yield from _of_chips(table, log, choices)


def _of_search(
    table: QueryTable,
    key: str,
    typed: str,
    moment: _Moment,
    choices: Choices,
    weight: float,
    rng: np.random.Generator,
) -> RankingRows:
    """What was searched, and what might have been."""
    right = table.rows_by_key[key]
    others = table.completions(typed) if typed else np.arange(len(table))
    others = others[others != right]
    drawn = rng.choice(others, min(NEGATIVES, len(others)), replace=False)
    rows = np.concatenate([[right], drawn]).astype(np.intp)
    features = _features(table, rows, choices, moment, typed)
    success = np.zeros(len(rows), np.float32)
    success[0] = 1.0
    return RankingRows(features, success, np.full(len(rows), weight, np.float32))


def _of_chips(table: QueryTable, log: Log, choices: Choices) -> Iterator[RankingRows]:
    """Answers with chips that were seen."""
    groups: dict[tuple[str, str], list[SuggestedQuery]] = {}
    for one in log.suggested[-10 * MOST_SEARCHES :]:
        if one.key in table.rows_by_key:
            groups.setdefault((one.user_id, one.request_id), []).append(one)
    tally, before = _Tally(table), 0
    successes = _choices(log.searches)
    for shown in groups.values():
        now = shown[0].timestamp
        while before < len(log.searches) and log.searches[before].timestamp < now:
            tally.add(log.searches[before])
            before += 1
        moment = tally.moment(log.dataset, shown[0].user_id, now)
        rows = np.array([table.rows_by_key[one.key] for one in shown], np.intp)
        success = [one.clicked and _led_to_choice(one, successes) for one in shown]
        weights = [min(_LARGEST_WEIGHT, 1.0 / one.propensity) for one in shown]
        yield RankingRows(
            _features(table, rows, choices, moment, ""),
            np.array(success, np.float32),
            np.array(weights, np.float32),
        )


def _features(
    table: QueryTable, rows: NDArray[np.intp], choices: Choices, moment: _Moment, typed: str
) -> FloatArray:
    features = query_features(table, rows, choices, moment.asker, typed)
    features[:, FEATURES.index("users")] = np.log1p(moment.users[rows])
    features[:, FEATURES.index("searches")] = np.log1p(moment.searches[rows])
    return features


class _Tally:
    """Who has searched what so far."""

    def __init__(self, table: QueryTable) -> None:
        self._table = table
        self._who: dict[int, set[str]] = {}
        self._by_user: dict[str, set[str]] = {}
        self._users = np.zeros(len(table), np.int32)
        self._searches = np.zeros(len(table), np.int32)

    def add(self, one: Search) -> None:
        """Count a search; those of other queries only as the user's own."""
        self._by_user.setdefault(one.user_id, set()).add(one.key)
        row = self._table.rows_by_key.get(one.key)
        if row is not None:
            who = self._who.setdefault(row, set())
            who.add(one.user_id)
            self._users[row], self._searches[row] = len(who), self._searches[row] + 1

    def moment(self, dataset: Dataset, user_id: str, time: float) -> _Moment:
        """As it is now, for one user."""
        number = dataset.users.number(user_id)
        past = dataset.history(number).before(time).item_nums
        seen = self._table.categories.among(dataset.catalogue[int(item)] for item in past)
        searched = frozenset(self._by_user.get(user_id, ()))
        asker = Asker(past, seen=seen, searched=searched)
        return _Moment(asker, self._users.copy(), self._searches.copy())


def _choices(searches: Sequence[Search]) -> dict[tuple[str, str], list[float]]:
    """(user, normal form) -> times of searches that led to a choice."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in searches:
        if len(one.chosen):
            found.setdefault((one.user_id, one.key), []).append(one.timestamp)
    return found


def _led_to_choice(one: SuggestedQuery, choices: dict[tuple[str, str], list[float]]) -> bool:
    times = choices.get((one.user_id, one.key), ())
    return any(0 <= time - one.timestamp <= CHOICE_WITHIN_S for time in times)
