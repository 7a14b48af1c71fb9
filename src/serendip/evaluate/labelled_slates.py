"""Ranked slates with labels: what a filter threshold does to them, and the threshold to choose.

A filter removes items whose P(irrelevant) is at least the threshold; of the first positions their
places are taken by the items behind with the lowest P(irrelevant). Slates of one group (an
occupation with many titles, say) are correlated, so intervals resample groups. Thresholds are fixed
before any slate is seen.

Shapes: P pairs, G groups, S slates, D bootstrap draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray

_THRESHOLDS = tuple(1 / (1 + np.exp(np.linspace(6, -6, 49))))
"""Probabilities that are tested as thresholds."""

RESAMPLES = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSlates:
    """Ranked slates with predictions and labels of each pair.

    Args:
        probabilities: (P,) P(irrelevant) by the filter.
        is_irrelevant: (P,) labels by people.
        slates: (P,) int32 number of the pair's slate; pairs of a slate are in its order.
        groups: (P,) int32 number of the slate's group.
        size: number of positions of a slate that are shown.
        false_good: share of irrelevant pairs that the labels call relevant. What a filter hides of
            these is no loss, and is taken off ``lost`` (Rogan and Gladen 1978).
    """

    probabilities: FloatArray
    is_irrelevant: BoolArray
    slates: IntArray
    groups: IntArray
    size: int
    false_good: float = 0.0

    def sort_by(self, similarity: FloatArray) -> LabelledSlates:
        """The slates with the highest similarity (P,) first."""
        return self._select(np.lexsort((-similarity, self.slates)))

    def split(
        self, is_first: BoolArray, similarity: FloatArray
    ) -> tuple[LabelledSlates, LabelledSlates]:
        """The slates of a mask (P,), and the others; the highest similarity (P,) comes first."""
        order = np.lexsort((-similarity, self.slates))
        return self._select(order[is_first[order]]), self._select(order[~is_first[order]])

    def split_in_half(self) -> tuple[LabelledSlates, LabelledSlates]:
        """Two halves of the groups, by seed 0: to choose a threshold, and to evaluate it."""
        group_ids, group_of = np.unique(self.groups, return_inverse=True)
        is_first = np.random.default_rng(0).permutation(len(group_ids))[group_of] % 2 == 0
        return self._select(np.flatnonzero(is_first)), self._select(np.flatnonzero(~is_first))

    def _select(self, rows: NDArray[np.intp]) -> LabelledSlates:
        columns = (
            self.probabilities[rows],
            self.is_irrelevant[rows],
            self.slates[rows],
            self.groups[rows],
        )
        return LabelledSlates(*columns, self.size, self.false_good)

    def is_shown(self, threshold: float) -> BoolArray:
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

    def effect(self, threshold: float) -> dict[str, float]:
        """Irrelevant share of the shown pairs before and after, and what it costs.

        ``fall`` is the relative decrease of the irrelevant share, ``replaced`` the share of the
        shown pairs that are removed, ``lost`` that of the relevant ones, ``wrong`` the share of the
        removed ones that are relevant, ``kept`` the number of
        relevant pairs shown after the filter, relative to before, ``shown`` that of all pairs.
        """
        found = self._figures(self._masks(threshold).sum(axis=1))
        return {name: float(value) for name, value in found.items()}

    def intervals(self, threshold: float, seed: int = 0) -> dict[str, list[float]]:
        """95 % bootstrap intervals over groups of all figures but ``replaced`` and ``shown``."""
        group_ids, group_of = np.unique(self.groups, return_inverse=True)
        random, count = np.random.default_rng(seed), len(group_ids)
        sums = np.stack(  # (6, G)
            [np.bincount(group_of, mask, count) for mask in self._masks(threshold)]
        )
        draws = random.multinomial(count, np.full(count, 1 / count), RESAMPLES) @ sums.T  # (D, 6)
        found = self._figures(draws.T)
        return {
            name: np.quantile(values, (0.025, 0.975)).tolist()
            for name, values in found.items()
            if name not in ("replaced", "shown")
        }

    def _masks(self, threshold: float) -> NDArray[np.bool_]:
        """(6, P) pairs shown before and the irrelevant ones, the same after, and the removed pairs
        and the relevant ones of these.
        """
        before, after = self.is_shown(np.inf), self.is_shown(threshold)
        removed = before & (self.probabilities >= threshold)
        bad = self.is_irrelevant
        return np.stack([before, before & bad, after, after & bad, removed, removed & ~bad])

    def _figures(self, sums: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Figures from numbers of pairs of the masks (6, ...)."""
        before, before_bad, after, after_bad, removed, removed_good = sums.astype(np.float64)
        first, last = before_bad / np.maximum(1, before), after_bad / np.maximum(1, after)
        good = before - before_bad
        # What the labels got wrong of the removed pairs is no loss.
        hidden = np.maximum(0.0, removed_good - self.false_good * removed)
        return {
            "irrelevant_before": first,
            "irrelevant_after": last,
            "fall": 1 - np.divide(last, first, out=np.ones_like(last), where=first > 0),
            "replaced": removed / np.maximum(1, before),
            "lost": hidden / np.maximum(1.0, good - self.false_good * before),
            "wrong": hidden / (1 - self.false_good) / np.maximum(1.0, removed),
            "kept": (after - after_bad) / np.maximum(1, good),
            "shown": after / np.maximum(1, before),
        }


def helpful_threshold(slates: LabelledSlates, most_lost: float, most_wrong: float) -> float | None:
    """The smallest threshold that lowers the irrelevant share and hides few relevant pairs.

    Args:
        slates: that the filter was not trained on.
        most_lost: share of the relevant pairs that may be hidden, by the upper end of the 95 %
            interval.
        most_wrong: share of the hidden pairs that may be relevant instead.

    Returns:
        the threshold; None if there is none.
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
