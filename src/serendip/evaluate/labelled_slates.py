"""Ranked slates with labels: what a filter threshold does to them, and the threshold to choose.

A filter removes items whose P(irrelevant) is at least the threshold; of the first positions their
places are taken by the items behind with the lowest P(irrelevant). Slates of one group (an
occupation with many titles, say) are correlated, so intervals resample groups. Thresholds are fixed
before any slate is seen.

Shapes: P pairs, G groups, S slates, D bootstrap draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray

_THRESHOLDS = tuple(1 / (1 + np.exp(np.linspace(6, -6, 49))))
"""Probabilities that are tested as thresholds."""

RESAMPLES = 1_000

Count: TypeAlias = NDArray[Any] | float
"""Number of pairs; or (D,) of each draw."""


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
        before, after = self.is_shown(np.inf), self.is_shown(threshold)
        is_removed = before & (self.probabilities >= threshold)
        first, last = _share(self.is_irrelevant, before), _share(self.is_irrelevant, after)
        return {
            "irrelevant_before": first,
            "irrelevant_after": last,
            "fall": 1 - last / first if first else 0.0,
            "replaced": float(is_removed.sum() / max(1, before.sum())),
            "lost": float(self._lost(*self._count_good(is_removed), *self._count_good(before))),
            "wrong": float(self._wrong(*self._count_good(is_removed))),
            "kept": float(
                (after & ~self.is_irrelevant).sum() / max(1, (before & ~self.is_irrelevant).sum())
            ),
            "shown": float(after.sum() / max(1, before.sum())),
        }

    def intervals(self, threshold: float, seed: int = 0) -> dict[str, list[float]]:
        """95 % bootstrap intervals over groups of irrelevant shares, ``fall``, ``lost``, ``wrong``
        and ``kept``.
        """
        before, after = self.is_shown(np.inf), self.is_shown(threshold)
        is_removed = before & (self.probabilities >= threshold)
        group_ids, group_of = np.unique(self.groups, return_inverse=True)
        shown = (before, before & self.is_irrelevant, after, after & self.is_irrelevant)
        removed = (is_removed & ~self.is_irrelevant, is_removed)
        sums = np.stack(  # (6, G)
            [np.bincount(group_of, mask, len(group_ids)) for mask in (*shown, *removed)]
        )
        random, count = np.random.default_rng(seed), len(group_ids)
        draws = random.multinomial(count, np.full(count, 1 / count), RESAMPLES) @ sums.T  # (D, 6)
        first, last = (draws[:, at + 1] / np.maximum(1, draws[:, at]) for at in (0, 2))
        fall = 1 - np.divide(last, first, out=np.ones_like(last), where=first > 0)
        good = draws[:, 0] - draws[:, 1]
        lost = self._lost(draws[:, 4], draws[:, 5], good, draws[:, 0])
        samples = {
            "irrelevant_before": first,
            "irrelevant_after": last,
            "fall": fall,
            "lost": lost,
            "wrong": self._wrong(draws[:, 4], draws[:, 5]),
            "kept": (draws[:, 2] - draws[:, 3]) / np.maximum(1, draws[:, 0] - draws[:, 1]),
        }
        return {
            name: np.quantile(values, (0.025, 0.975)).tolist() for name, values in samples.items()
        }

    def _count_good(self, mask: BoolArray) -> tuple[int, int]:
        """Pairs of a mask that are labelled relevant, and all of them."""
        return int((mask & ~self.is_irrelevant).sum()), int(mask.sum())

    def _lost(self, good: Count, removed: Count, all_good: Count, shown: Count) -> Any:
        """Share of the relevant pairs shown that is removed, less what the labels got wrong."""
        lost = np.maximum(0.0, good - self.false_good * removed)
        return lost / np.maximum(1.0, all_good - self.false_good * shown)

    def _wrong(self, good: Count, removed: Count) -> Any:
        """Share of the removed pairs that is relevant, less what the labels got wrong."""
        relevant = np.maximum(0.0, good - self.false_good * removed) / (1 - self.false_good)
        return relevant / np.maximum(1.0, removed)


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


def _share(labels: BoolArray, mask: BoolArray) -> float:
    return float((labels & mask).sum() / max(1, mask.sum()))
