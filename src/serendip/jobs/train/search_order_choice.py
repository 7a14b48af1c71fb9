"""Whether the ranker orders search, chosen on the workspace's own searches.

Searches of people, logged or labelled, are dealt into folds by their words. Rankers that have
learned from the other folds order the candidates of each fold, all of them, exact titles first as
in an answer, and so does rank fusion. **The rule**: the ranker orders search if the paired
difference of nDCG@10 is ``better`` by the rules of ``evaluate/comparison.py``: at least 50 users,
95 % interval above 0, and a gain of 1 % or more. Else sources are fused by rank, which needs no
training and cannot learn from chance. A user counts once, with the mean of their searches; a query
without a user counts as one.

Written queries decide nothing: they are not what people type. Gains are those of the training:
grades of labelled items, inverse propensities of the positions of chosen ones. Candidates that no
source proposed, as items that were shown some day, are left out. What was chosen was seen in some
order, mostly that of the generation then in force, which the figures favour.

Values are sums of action probabilities by the weights of ``search``; its popularity discount, item
value and rejections are left out. The rankers of the folds learn from the searches of the other
folds and from at most ``OTHERS`` requests of other kinds, so that the whole choice costs at most
one and a half times the ranker's own training without its rows, mostly far less, and nothing
without searches of people.

Shapes: R rows (request, candidate), F features, Q requests, H compared searches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.text import normalise
from serendip.engine.settings import Settings
from serendip.evaluate.comparison import BETTER, MIN_USERS, compare_values
from serendip.evaluate.intervals import per_user
from serendip.jobs.train.labelled_query import LabelledQuery
from serendip.jobs.train.ranker_rows import OF_PEOPLE, RowMaking, SearchCandidates
from serendip.jobs.train.row_quality import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.jobs.train.search_rows import count_searches
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.models.ranker.search_order import SearchOrder
from serendip.runtime.progress import SilentProgress, TrainOptions

FOLDS = 3

OTHERS = 1_000
"""Requests of other kinds that the rankers of the folds learn from, at most."""

SHARE_OF_TIME = 0.3
"""Share of the ranker's time for the choice."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledSearches:
    """What the ranker learns from, and all candidates of searches of people.

    Args:
        rows: R rows; their groups are request numbers.
        names: of the F features.
        requests: Q requests.
        compared: candidates of some searches of people.
    """

    rows: RankerRows
    names: tuple[str, ...]
    requests: Sequence[LabelledQuery]
    compared: Sequence[SearchCandidates]

    @classmethod
    def of(cls, making: RowMaking, rows: RankerRows, names: tuple[str, ...]) -> Self:
        """Take the requests and candidates of rows that were made."""
        return cls(rows, names, making.made, making.compared)

    @property
    def counts(self) -> Mapping[str, int]:
        """Source -> number of searches with a positive row."""
        return count_searches(self.rows, [one.source for one in self.requests])

    def candidates(self) -> SearchCandidates | None:
        """Proposed candidates of the H searches with a gain among them; None without any."""
        parts = [part.at(part.fused > 0) for part in self.compared]
        parts = [part.at(_with_gain(part.rows)) for part in parts]
        return SearchCandidates.joined([part for part in parts if len(part.rows)])

    def users(self, groups: NDArray[np.integer]) -> list[str]:
        """Who made the requests of numbers (H,): ids, or the words of queries without one."""
        made = [self.requests[number] for number in groups.tolist()]
        return [one.user_id or f"\0{normalise(one.query.text)}" for one in made]

    def folds(self) -> IntArray:
        """(Q,) fold of each search of people, -1 for other requests; equal words share one."""
        texts = [
            normalise(one.query.text) if one.source in OF_PEOPLE else "" for one in self.requests
        ]
        names, text = np.unique(texts, return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(names)) % FOLDS
        is_search = np.array([one.source in OF_PEOPLE for one in self.requests], np.bool_)
        return np.where(is_search, fold[text], -1).astype(np.int32)

    def training_rows(self, folds: IntArray, fold: int) -> RankerRows:
        """Rows of the searches of other folds, and of an even share of other requests."""
        kept = (folds >= 0) & (folds != fold)  # (Q,)
        others = np.flatnonzero(folds < 0)
        count = min(OTHERS, len(others))
        kept[others[np.linspace(0, len(others) - 1, count).astype(np.intp)]] = True
        return self.rows.at(kept[self.rows.group])


def choose_search_order(
    searches: SampledSearches, settings: Settings, options: TrainOptions
) -> SearchOrder:
    """Compare the ranker with rank fusion on held-out searches; see the rule above.

    Args:
        searches: with all rows of the ranker.
        settings: surfaces and the ranker's config.
        options: seed and time; sources are fused by rank if the time ends before the last fold.
    """
    learned, found = searches.counts, searches.candidates()
    if found is None:
        return SearchOrder(searches=learned, note="no search of people can be compared on")
    users = searches.users(np.unique(found.rows.group))  # H of them
    plain = SearchOrder(False, learned, len(users), len(set(users)))
    if note := _reason_against(searches, found, plain.users):
        return replace(plain, note=note)
    time = options.allowance.from_now(SHARE_OF_TIME, "search order")
    limited = replace(options, progress=SilentProgress(), allowance=time)
    values = _held_out_values(searches, found, settings, limited)
    if values is None:
        return replace(plain, note="there was no time to compare it with the ranker")
    gains, requests = gains_of(found.rows), rows_of_requests(found.rows.group)
    both = [
        ndcg_of_requests(np.where(found.pins > 0, found.pins, order), gains, requests)
        for order in (values, found.fused)
    ]
    groups = np.unique(users, return_inverse=True)[1]
    by_ranker, fused = per_user(np.stack(both, axis=1), groups).T  # (U,) each
    compared = compare_values(("ranker", "rank fusion", "nDCG@10"), by_ranker, fused)
    return replace(
        plain,
        by_ranker=compared.verdict == BETTER,
        ranker=float(by_ranker.mean()),
        fusion=float(fused.mean()),
        difference=compared.difference,
        low=compared.low,
        high=compared.high,
    )


def _reason_against(searches: SampledSearches, found: SearchCandidates, users: int) -> str:
    """Why nothing is compared; empty if it is."""
    if users < MIN_USERS:
        return f"searches of {users} users or queries are too few to compare on ({MIN_USERS})"
    folds = searches.folds()[found.rows.group]
    return "" if len(np.unique(folds)) > 1 else "all searches of people have the same words"


def _held_out_values(
    searches: SampledSearches, found: SearchCandidates, settings: Settings, options: TrainOptions
) -> FloatArray | None:
    """(R,) values of candidates by rankers that have not seen their words; None = no time."""
    folds, values = searches.folds(), np.zeros(len(found.rows), np.float32)
    of_row = folds[found.rows.group]  # (R,)
    for fold in np.unique(of_row).tolist():
        if options.allowance.is_over:
            return None
        learned = searches.training_rows(folds, fold)
        ranker = Ranker(settings.ranker).train(learned, searches.names, options)
        own = of_row == fold
        values[own] = ranker_values(ranker, found.rows.at(own), settings)
    return values


def gains_of(rows: RankerRows) -> FloatArray:
    """(R,) weights of chosen rows, 0 for others."""
    gains: FloatArray = np.where(rows.labels.any(1), rows.weights, 0.0)
    return gains


def _with_gain(rows: RankerRows) -> NDArray[np.bool_]:
    """(R,) True for rows of a request that has a row with a gain."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    first = int(rows.group.min())
    total = np.bincount(rows.group - first, gains_of(rows))
    return np.asarray(total[rows.group - first] > 0)
