"""Ranked slates with labels: what a filter threshold does to them, and the threshold to choose.

A filter removes items whose P(irrelevant) is at least the threshold; of the first positions their
places are taken by the items behind with the lowest P(irrelevant). Slates of one group (an
occupation with many titles, say) are correlated, so intervals resample groups. Thresholds are fixed
before any slate is seen.

Shapes: P pairs, G groups, S slates, D bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray

_THRESHOLDS = tuple(1 / (1 + np.exp(np.linspace(6, -6, 49))))

FOLDS = 5
"""Parts of the groups: a threshold is evaluated on one that was chosen by the others."""

_LEAST_TOLD = 1e-6

RESAMPLES = 1_000

Count: TypeAlias = NDArray[Any] | float
"""Number of pairs; or (D,) of each draw."""

Threshold: TypeAlias = float | FloatArray
"""Smallest probability that is removed; or (P,) of each pair."""


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """How often a labeller was wrong where the answer was known; without questions, never.

    ``missed`` of the questions about relevant pairs were called irrelevant, ``excused`` of the
    others were called relevant.
    """

    relevant: int = 0
    missed: int = 0
    irrelevant: int = 0
    excused: int = 0

    def rates(self) -> tuple[Count, Count]:
        """Shares of relevant pairs called irrelevant, and of irrelevant ones called relevant."""
        return self.missed / max(1, self.relevant), self.excused / max(1, self.irrelevant)

    def draw_rates(self, random: np.random.Generator) -> tuple[Count, Count]:
        """(D,) both shares as uncertain as few questions leave them, by Jeffreys' prior."""
        if not self.relevant or not self.irrelevant:
            return 0.0, 0.0
        missed = random.beta(self.missed + 0.5, self.relevant - self.missed + 0.5, RESAMPLES)
        excused = random.beta(self.excused + 0.5, self.irrelevant - self.excused + 0.5, RESAMPLES)
        return missed, excused


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSlates:
    """Ranked slates with predictions and labels of each pair.

    What a filter hides is judged by what is relevant in truth, as labels say and less what they are
    wrong about (Rogan and Gladen 1978); what it gains, by the labels: errors make that less.

    Args:
        probabilities: (P,) P(irrelevant) by the filter.
        is_irrelevant: (P,) labels.
        slates: (P,) int32 number of the pair's slate; pairs of a slate are in its order.
        groups: (P,) int32 number of the slate's group.
        size: number of positions of a slate that are shown.
    """

    probabilities: FloatArray
    is_irrelevant: BoolArray
    slates: IntArray
    groups: IntArray
    size: int
    errors: LabelErrors = LabelErrors()

    def sort_by(self, similarity: FloatArray) -> LabelledSlates:
        """The slates with the highest similarity (P,) first."""
        return self._select(np.lexsort((-similarity, self.slates)))

    def split(
        self, is_first: BoolArray, similarity: FloatArray
    ) -> tuple[LabelledSlates, LabelledSlates]:
        """The slates of a mask (P,), and the others; the highest similarity (P,) comes first."""
        order = np.lexsort((-similarity, self.slates))
        return self._select(order[is_first[order]]), self._select(order[~is_first[order]])

    def _select(self, rows: NDArray[np.intp]) -> LabelledSlates:
        columns = (
            self.probabilities[rows],
            self.is_irrelevant[rows],
            self.slates[rows],
            self.groups[rows],
        )
        return LabelledSlates(*columns, self.size, self.errors)

    def cross_fit(self, choose: Callable[[LabelledSlates], float | None]) -> FloatArray:
        """(P,) threshold of each pair, chosen by slates of other groups; infinite = none was."""
        group_ids, group_of = np.unique(self.groups, return_inverse=True)
        fold = (np.random.default_rng(0).permutation(len(group_ids)) % FOLDS)[group_of]  # (P,)
        thresholds = np.full(len(fold), np.inf)
        for number in range(FOLDS):
            found = choose(self._select(np.flatnonzero(fold != number)))
            thresholds[fold == number] = np.inf if found is None else found
        return thresholds

    def is_shown(self, threshold: Threshold) -> BoolArray:
        """(P,) pairs that are shown if all with at least this probability are removed.

        What is removed from the first positions is replaced by the surest pairs behind these.
        """
        is_first = self._first()
        passes = self.probabilities < threshold
        missing = np.bincount(self.slates, is_first & ~passes, int(self.slates.max(initial=-1)) + 1)
        able = np.flatnonzero(~is_first & passes)
        rows = able[np.lexsort((self.probabilities[able], self.slates[able]))]
        shown: BoolArray = is_first & passes
        shown[rows[_ranks(self.slates[rows]) < missing[self.slates[rows]]]] = True
        return shown

    def _first(self) -> BoolArray:
        """(P,) the first ``size`` pairs of each slate."""
        order = np.argsort(self.slates, kind="stable")
        mask = np.zeros(len(self.slates), np.bool_)
        mask[order[_ranks(self.slates[order]) < self.size]] = True
        return mask

    def effect(self, threshold: Threshold) -> dict[str, float]:
        """Irrelevant share of the shown pairs before and after, and what it costs.

        ``fall`` is the relative decrease of the irrelevant share, ``replaced`` the share of the
        shown pairs that are removed, ``lost`` that of the relevant ones, ``wrong`` the share of the
        removed ones that are relevant, ``kept`` the number of
        relevant pairs shown after the filter, relative to before, ``shown`` that of all pairs.
        """
        sums = [float(column.sum()) for column in self._count(threshold)]
        return {name: float(share) for name, share in _measure(sums, self.errors.rates()).items()}

    def intervals(self, threshold: Threshold, seed: int = 0) -> dict[str, list[float]]:
        """95 % bootstrap intervals over groups of all shares of ``effect``.

        Each draw also draws how often the labeller is wrong.
        """
        columns = self._count(threshold)  # (6, G)
        weights = _draw_groups(columns.shape[1], seed)  # (D, G)
        rates = self.errors.draw_rates(np.random.default_rng(seed))
        return {
            name: np.quantile(values, (0.025, 0.975)).tolist()
            for name, values in _measure(list((weights @ columns.T).T), rates).items()
        }

    def _count(self, threshold: Threshold) -> FloatArray:
        """(6, G) pairs before, after and removed of each group, all and those labelled relevant."""
        before, after = self.is_shown(np.inf), self.is_shown(threshold)
        is_removed = before & (self.probabilities >= threshold)
        group_ids, group_of = np.unique(self.groups, return_inverse=True)
        masks = [
            mask
            for shown in (before, after, is_removed)
            for mask in (shown, shown & ~self.is_irrelevant)
        ]
        return np.stack([np.bincount(group_of, mask, len(group_ids)) for mask in masks])


@lru_cache(maxsize=2)
def _draw_groups(count: int, seed: int) -> NDArray[np.float64]:
    random, shares = np.random.default_rng(seed), np.full(count, 1 / count)
    return random.multinomial(count, shares, RESAMPLES).astype(np.float64)


def _measure(counts: Sequence[Count], rates: tuple[Count, Count]) -> dict[str, Count]:
    """Shares by six counts, or by those of each draw (D,): pairs before, after and removed, all
    and those labelled relevant.
    """
    before, good_before, after, good_after, removed, good_removed = counts
    first = (before - good_before) / np.maximum(1, before)
    last = (after - good_after) / np.maximum(1, after)
    is_bad = np.asarray(first) > 0
    relevant = _count_relevant(good_removed, removed, rates)
    all_relevant = np.maximum(relevant, _count_relevant(good_before, before, rates))
    return {
        "irrelevant_before": first,
        "irrelevant_after": last,
        "fall": np.where(is_bad, 1 - last / np.where(is_bad, first, 1.0), 0.0),
        "replaced": removed / np.maximum(1, before),
        "lost": relevant / np.maximum(1, all_relevant),
        "wrong": relevant / np.maximum(1, removed),
        "kept": good_after / np.maximum(1, good_before),
        "shown": after / np.maximum(1, before),
    }


def _count_relevant(labelled: Count, pairs: Count, rates: tuple[Count, Count]) -> Count:
    """Pairs that are relevant, by those labelled so and by how often labels are wrong.

    Labels that are right no more often than wrong tell nothing: none of the pairs may be, or all.
    """
    missed, excused = rates
    tells = np.maximum(1 - missed - excused, _LEAST_TOLD)
    relevant: Count = np.clip((labelled - excused * pairs) / tells, 0, pairs)
    return relevant


def helpful_threshold(slates: LabelledSlates, most_lost: float, most_wrong: float) -> float | None:
    """The smallest threshold that lowers the irrelevant share and hides few relevant pairs, or
    None.

    The filter was not trained on the slates. At most a share ``most_lost`` of the relevant pairs
    may be hidden, by the upper end of the 95 % interval, or a share ``most_wrong`` of the hidden
    pairs may be relevant instead.
    """
    for threshold in _THRESHOLDS:
        if slates.effect(threshold)["fall"] <= 0:
            continue
        ends = slates.intervals(threshold)
        if ends["lost"][1] <= most_lost or ends["wrong"][1] <= most_wrong:
            return float(threshold)
    return None


def replacement_threshold(slates: LabelledSlates, max_replaced: float) -> float:
    """The smallest threshold that replaces at most a given share of the shown pairs."""
    probabilities = np.sort(slates.probabilities[slates.is_shown(np.inf)])
    thresholds = np.append(np.unique(probabilities), np.inf)
    replaced = (len(probabilities) - np.searchsorted(probabilities, thresholds)) / len(
        probabilities
    )
    return float(thresholds[replaced <= max_replaced][0])


def _ranks(slates: IntArray) -> NDArray[np.intp]:
    """(P,) rank of each row in its slate, from 0; rows of one slate are adjacent."""
    starts = np.flatnonzero(np.diff(slates, prepend=-1))
    return np.arange(len(slates)) - np.repeat(starts, np.diff(np.append(starts, len(slates))))
