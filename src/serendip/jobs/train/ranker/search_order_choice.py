"""Whether the ranker orders search, chosen on the workspace's own searches.

Searches of people, logged or labelled, are dealt into folds by their words. Rankers that have
learned from the other folds order the candidates of each fold, all of them, exact titles first as
in an answer, and so does rank fusion. A user counts once, with the mean of their searches; a query
without a user counts as one.

**The rule**, with the verdicts of ``evaluate/comparison.py`` on nDCG@10: the ranker orders search
if it is ``better`` (at least 50 users, 95 % interval of the paired difference above 0, a gain of
1 % or more) on the logged searches, or on the labelled ones where the logged are of fewer users,
and is not ``worse`` on the other source. Sources are never pooled: many labels would outvote the
people who search. Else sources are fused by rank, which needs no training and cannot learn from
chance.

Written queries decide nothing: they are not what people type. Nor do labels by an LLM: the ranker
that has learned them would be compared by the same habits. Gains are those of the training:
grades of labelled items, inverse propensities of the positions of chosen ones. Candidates that no
source proposed, as items that were shown some day, are left out. What was chosen was seen in some
order, mostly that of the generation then in force, which the figures favour.

Values are sums of action probabilities by the weights of ``search``; its popularity discount, item
value and rejections are left out. The rankers of the folds learn from the searches of the other
folds and from at most ``OTHERS`` requests of other kinds, so that the whole choice costs at most
one and a half times the ranker's own training without its rows, mostly far less, and nothing
without searches of people. Each fold has an equal share of the time. If that ends a training,
nothing is compared, and search is ordered as in the generation in force: the load of a machine
decides nothing.

Shapes: R rows (request, candidate), F features, Q requests, H compared searches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.text import normalise
from serendip.engine.config.settings import Settings
from serendip.engine.stages.scoring import show_scores
from serendip.evaluate.comparison import BETTER, MIN_USERS, WORSE, compare_values
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Values
from serendip.jobs.train.ranker.labelled_query import OF_PEOPLE, LabelledQuery
from serendip.jobs.train.ranker.row_quality import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.jobs.train.ranker.search_rows import count_searches
from serendip.models.ranker.config import RankerRows, SearchSource
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

    @property
    def counts(self) -> Mapping[str, int]:
        """Source -> number of searches with a positive row."""
        return count_searches(self.rows, [request.source for request in self.requests])

    def candidates(self) -> SearchCandidates | None:
        """Proposed candidates of the H searches with a gain among them; None without any."""
        parts = [part.at(part.fused > 0) for part in self.compared]
        parts = [part.at(_with_gain(part.rows)) for part in parts]
        return SearchCandidates.joined([part for part in parts if len(part.rows)])

    def users(self, groups: NDArray[np.integer]) -> list[str]:
        """Who made the requests of numbers (H,): ids, or the words of queries without one."""
        made = [self.requests[number] for number in groups.tolist()]
        return [request.user_id or f"\0{normalise(request.query.text)}" for request in made]

    def folds(self) -> IntArray:
        """(Q,) fold of each logged or labelled search, -1 for others; equal words share one."""
        is_search = np.array([request.source in OF_PEOPLE for request in self.requests], np.bool_)
        texts = [
            normalise(request.query.text) if is_of_people else ""
            for request, is_of_people in zip(self.requests, is_search.tolist(), strict=True)
        ]
        names, text = np.unique(texts, return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(names)) % FOLDS
        return np.where(is_search, fold[text], -1).astype(np.int32)

    def training_rows(self, folds: IntArray, fold: int) -> RankerRows:
        """Rows of the searches of other folds, and of an even share of other requests."""
        kept = (folds >= 0) & (folds != fold)  # (Q,)
        others = np.flatnonzero(folds < 0)
        count = min(OTHERS, len(others))
        kept[others[np.linspace(0, len(others) - 1, count).astype(np.intp)]] = True
        return self.rows.at(kept[self.rows.group])


@dataclass(frozen=True, slots=True, eq=False)
class SourceComparison:
    """Both orders on the held-out searches of one source.

    Args:
        order: that these searches alone ask for, with the figures; ``note`` = why there are none.
        verdict: of the ranker against rank fusion; empty = nothing was compared.
    """

    order: SearchOrder
    verdict: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SourceSearches:
    """The searches of one source among H.

    Args:
        source: logged or labelled.
        is_own: (H,) True for its searches.
        users: who made its searches.
        num_folds: number of folds that have some.
    """

    source: SearchSource
    is_own: BoolArray
    users: Sequence[str]
    num_folds: int

    @classmethod
    def of_all(cls, searches: SampledSearches, groups: NDArray[np.integer]) -> list[Self]:
        """Those of each source that has some of the requests of numbers (H,)."""
        sources = np.array([searches.requests[number].source for number in groups.tolist()])
        folds, found = searches.folds(), []
        for source in OF_PEOPLE:
            is_own = sources == source
            own = groups[is_own]
            if len(own):
                found.append(cls(source, is_own, searches.users(own), len(np.unique(folds[own]))))
        return found

    def plain(self, learned: Mapping[str, int]) -> SearchOrder:
        """Rank fusion, without figures."""
        count, users = len(self.users), len(set(self.users))
        return SearchOrder(False, learned, count, users, source=self.source)

    def reason_against(self) -> str:
        """Why nothing is compared on them; empty if they are enough."""
        users = len(set(self.users))
        if users < MIN_USERS:
            return (
                f"{self.source} searches of {users} users or queries are too few to compare on "
                f"({MIN_USERS})"
            )
        return "" if self.num_folds > 1 else f"all {self.source} searches have the same words"

    def compare(self, both: Values, learned: Mapping[str, int]) -> SourceComparison:
        """Compare nDCG@10 (H, 2) of the ranker and of rank fusion on them."""
        groups = np.unique(self.users, return_inverse=True)[1]
        by_ranker, fused = per_user(both[self.is_own], groups).T  # (U,) each
        compared = compare_values(("ranker", "rank fusion", "nDCG@10"), by_ranker, fused)
        order = replace(
            self.plain(learned),
            by_ranker=compared.verdict == BETTER,
            ranker=float(by_ranker.mean()),
            fusion=float(fused.mean()),
            difference=compared.difference,
            low=compared.low,
            high=compared.high,
        )
        return SourceComparison(order, compared.verdict)


def choose_search_order(
    searches: SampledSearches,
    settings: Settings,
    options: TrainOptions,
    in_force: SearchOrder | None = None,
) -> SearchOrder:
    """Compare the ranker with rank fusion on held-out searches; see the rule above.

    Args:
        searches: with all rows of the ranker.
        settings: surfaces and the ranker's config.
        options: seed and time.
        in_force: what orders search in the generation in force, which is kept if there is no time
            for the comparison; None = rank fusion.
    """
    learned, found = searches.counts, searches.candidates()
    if found is None:
        return SearchOrder(searches=learned, note="no search of people can be compared on")
    sources = SourceSearches.of_all(searches, np.unique(found.rows.group))
    enough = [source for source in sources if not source.reason_against()]
    if not enough:
        most = max(sources, key=lambda source: len(set(source.users)))
        return replace(most.plain(learned), note=most.reason_against())
    time = options.allowance.from_now(SHARE_OF_TIME, "search order")
    limited = replace(options, progress=SilentProgress(), allowance=time)
    values = _held_out_values(searches, found, settings, limited)
    if values is None:
        return _without_time(enough[0].plain(learned), in_force)
    gains, requests = gains_of(found.rows), rows_of_requests(found.rows.group)
    both = [
        ndcg_of_requests(show_scores(found.pins, order), gains, requests)
        for order in (values, found.fused)
    ]
    return _decide([source.compare(np.stack(both, axis=1), learned) for source in enough])


def _without_time(plain: SearchOrder, in_force: SearchOrder | None) -> SearchOrder:
    """What orders search in the generation in force, if there is one."""
    note = "there was no time to compare it with the ranker"
    if in_force is None:
        return replace(plain, note=note)
    note = "there was no time for a comparison, and the generation in force is ordered by it"
    return replace(plain, by_ranker=in_force.by_ranker, note=note)


def _decide(compared: Sequence[SourceComparison]) -> SearchOrder:
    """The order that the first source asks for; rank fusion if the ranker is worse on another."""
    first, *others = compared
    against = [other.order for other in others if other.verdict == WORSE]
    return against[0] if first.order.by_ranker and against else first.order


def _held_out_values(
    searches: SampledSearches, found: SearchCandidates, settings: Settings, options: TrainOptions
) -> FloatArray | None:
    """(R,) values of candidates by rankers that have not seen their words; None = no time.

    A ranker whose training the time ended would be compared as if it were whole: nothing is.
    """
    folds, values = searches.folds(), np.zeros(len(found.rows), np.float32)
    of_row = folds[found.rows.group]  # (R,)
    present = np.unique(of_row).tolist()
    for place, fold in enumerate(present):
        time = options.allowance.from_now(1 / (len(present) - place))
        learned = searches.training_rows(folds, fold)
        ranker = _train_in_time(settings, learned, searches.names, replace(options, allowance=time))
        if ranker is None:
            options.allowance.cut(place / len(present))
            return None
        own = of_row == fold
        values[own] = ranker_values(ranker, found.rows.at(own), settings)
    return values


def _train_in_time(
    settings: Settings, rows: RankerRows, names: Sequence[str], options: TrainOptions
) -> Ranker | None:
    """Train a ranker; None if the time was over before the end."""
    if options.allowance.is_over:
        return None
    time = replace(options.allowance, cuts=[])
    ranker = Ranker(settings.ranker).train(rows, names, replace(options, allowance=time))
    return None if time.cuts else ranker


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
