"""What the ranker of suggested queries learns from: searches that led to a choice, and chips.

A search that led to a choice is what somebody wanted to be offered: against queries that nobody
wanted then, drawn at random, once before anything was typed and once among those and the titles
that go on from its first letters. That somebody searches again what they searched before says
nothing of other queries, and is not learned from. Of chips it is known what was shown: the one that
was clicked and led to a choice against those beside it, each weighed by 1 / its chance of being
shown. A chip of kind ``like`` leads to what is like an item, where choices carry no words: any
choice among such items counts for it.

Everything is told as of the moment of asking: how often a query had been searched *by then*, what
its user had chosen *by then*. How well a query suits a user's vector (``taste``) is not learned, as
the retriever has learned from the very choices that would be foretold: its weight stays the
prior's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.search_log import Search, SuggestedQuery
from serendip.data.text import normalise
from serendip.jobs.search_log import Log
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

MOST_OF_USER = 30
"""Newest searches of a user that are learned from."""

MOST_SEARCHES = 2_000
"""Newest searches, and answers with chips, that are learned from."""

NEGATIVES = 100
TITLES = 8
MOST_LETTERS = 3
CHOICE_WITHIN_S = 1_800.0
_LARGEST_WEIGHT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A request as it was: who asked, and what had been searched by then."""

    asker: SuggestionUser
    users: IntArray
    searches: IntArray


def train_query_ranker(
    table: QueryTable,
    titles: TitleIndex,
    log: Log,
    seed: int,
    strength: float = PRIOR_STRENGTH,
) -> QueryRanker:
    """Learn from a log what is taken; the prior where it says nothing.

    Args:
        table: queries that are suggested.
        titles: that are suggested beside them while somebody types.
        log: up to the moment of training.
        seed: of the drawing of what was not wanted.
        strength: of the prior.
    """
    world = _World(table, titles, log)
    parts = [*_of_searches(world, np.random.default_rng(seed)), *_of_chips(world)]
    if not parts:
        return QueryRanker.prior()
    rows = RankingRows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.success for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
    return QueryRanker.trained(rows, len(parts), strength)


class _World:
    """What requests are told from."""

    def __init__(self, table: QueryTable, titles: TitleIndex, log: Log) -> None:
        self.table, self.titles, self.log = table, titles, log
        self.counts = log.dataset.item_counts()
        self.choices = SuggestionChoices.of(table, self.counts)
        self.categories = table.categories.matrix(log.dataset.catalogue)

    def features(self, rows: NDArray[np.intp], moment: _Moment, typed: str) -> FloatArray:
        """Of queries of the table."""
        features = query_features(self.table, rows, self.choices, moment.asker, typed)
        features[:, FEATURES.index("users")] = np.log1p(moment.users[rows])
        features[:, FEATURES.index("searches")] = np.log1p(moment.searches[rows])
        return features

    def title_features(self, key: str, moment: _Moment, typed: str) -> FloatArray:
        """Of titles that go on from what was typed, but for what was searched then or before."""
        found = [
            Candidate(one.title, "title", "fields", np.array([one.item_num], np.int32))
            for one in self.titles.completions(typed, TITLES)
            if normalise(one.title) not in {key, *moment.asker.searched}
        ]
        catalogue = self.log.dataset.catalogue
        table = QueryTable.unverified(found, catalogue, self.table.categories)
        choices = SuggestionChoices.of(table, self.counts)
        return query_features(table, np.arange(len(table)), choices, moment.asker, typed)


def _of_searches(world: _World, rng: np.random.Generator) -> Iterator[RankingRows]:
    """Rows of each search that is learned from, in order of time."""
    wanted = _wanted(world.log.searches, world.table)
    of_user = Counter(world.log.searches[row].user_id for row in wanted)
    tally = _Tally(world)
    for row, one in enumerate(world.log.searches):
        if row in wanted:
            moment = tally.moment(one.user_id, one.timestamp)
            weight = 1.0 / np.sqrt(of_user[one.user_id])
            for typed in ("", one.key[: int(rng.integers(1, MOST_LETTERS + 1))].strip()):
                yield _of_search(world, one.key, typed, moment, weight, rng)
        tally.add(one)


def _wanted(searches: Sequence[Search], table: QueryTable) -> set[int]:
    """Rows of first searches of a query by a user that led to a choice; the newest of each user."""
    firsts: dict[tuple[str, str], int] = {}
    for row, one in enumerate(searches):
        firsts.setdefault((one.user_id, one.key), row)
    left: Counter[str] = Counter()
    chosen: list[int] = []
    for row in sorted(firsts.values(), reverse=True):
        one = searches[row]
        if len(one.chosen) and one.key in table.rows_by_key and left[one.user_id] < MOST_OF_USER:
            left[one.user_id] += 1
            chosen.append(row)
    return set(chosen[:MOST_SEARCHES])


def _of_search(
    world: _World,
    key: str,
    typed: str,
    moment: _Moment,
    weight: float,
    rng: np.random.Generator,
) -> RankingRows:
    """What was searched, and what might have been."""
    table = world.table
    right = table.rows_by_key[key]
    known = [table.rows_by_key[one] for one in moment.asker.searched if one in table.rows_by_key]
    others = table.completions(typed) if typed else np.arange(len(table))
    others = others[~np.isin(others, [right, *known])]
    drawn = rng.choice(others, min(NEGATIVES, len(others)), replace=False)
    rows = np.concatenate([[right], drawn]).astype(np.intp)
    features = world.features(rows, moment, typed)
    if typed:
        features = np.concatenate([features, world.title_features(key, moment, typed)])
    success = np.zeros(len(features), np.float32)
    success[0] = 1.0
    return RankingRows(features, success, np.full(len(features), weight, np.float32))


def _of_chips(world: _World) -> Iterator[RankingRows]:
    """Answers with chips that were seen."""
    groups: dict[tuple[str, str], list[SuggestedQuery]] = {}
    for one in world.log.suggested:
        if one.key in world.table.rows_by_key:
            groups.setdefault((one.user_id, one.request_id), []).append(one)
    searches, tally, before = world.log.searches, _Tally(world), 0
    successes = _choices(searches)
    for shown in list(groups.values())[-MOST_SEARCHES:]:
        now = shown[0].timestamp
        while before < len(searches) and searches[before].timestamp < now:
            tally.add(searches[before])
            before += 1
        moment = tally.moment(shown[0].user_id, now)
        rows = np.array([world.table.rows_by_key[one.key] for one in shown], np.intp)
        success = [
            one.clicked and _within(one, _times_of(world, one, int(row), successes))
            for one, row in zip(shown, rows, strict=True)
        ]
        weights = [min(_LARGEST_WEIGHT, 1.0 / one.propensity) for one in shown]
        yield RankingRows(
            world.features(rows, moment, ""),
            np.array(success, np.float32),
            np.array(weights, np.float32),
        )


class _Tally:
    """Who has searched what so far."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._who: dict[int, set[str]] = {}
        self._by_user: dict[str, set[str]] = {}
        self._users, self._searches = np.zeros((2, len(world.table)), np.int32)

    def add(self, one: Search) -> None:
        """Count a search; those of other queries only as the user's own."""
        self._by_user.setdefault(one.user_id, set()).add(one.key)
        row = self._world.table.rows_by_key.get(one.key)
        if row is not None:
            who = self._who.setdefault(row, set())
            who.add(one.user_id)
            self._users[row], self._searches[row] = len(who), self._searches[row] + 1

    def moment(self, user_id: str, time: float) -> _Moment:
        """As it is now, for one user."""
        dataset = self._world.log.dataset
        past = dataset.history(dataset.users.number(user_id)).before(time).item_nums
        seen = np.asarray(self._world.categories[np.unique(past)].any(axis=0))
        searched = frozenset(self._by_user.get(user_id, ()))
        asker = SuggestionUser(past, seen=seen, searched=searched)
        return _Moment(asker, self._users.copy(), self._searches.copy())


def _choices(searches: Sequence[Search]) -> dict[tuple[str, str], list[float]]:
    """(user, normal form) -> times of searches that led to a choice."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in searches:
        if len(one.chosen):
            found.setdefault((one.user_id, one.key), []).append(one.timestamp)
    return found


def _times_of(
    world: _World, one: SuggestedQuery, row: int, choices: Mapping[tuple[str, str], Sequence[float]]
) -> Sequence[float]:
    """When its user chose something where the chip leads to."""
    if world.table.kinds[row] == "like":
        return world.log.similar.get(one.user_id, ())
    return choices.get((one.user_id, one.key), ())


def _within(one: SuggestedQuery, times: Sequence[float]) -> bool:
    return any(0 <= time - one.timestamp <= CHOICE_WITHIN_S for time in times)
