"""Distribution-free risk control: the loosest filter threshold with a bound on irrelevant items.

A filter removes items whose P(irrelevant) is at least the threshold; of the first positions their
places are taken by the items behind with the lowest P(irrelevant). The excess of a slate is the
number of irrelevant items shown, minus the allowed share of the items shown; a threshold is safe if
the mean excess is not above 0. Slates of one group (an occupation with many titles, say) are
correlated, so the sample is of groups, each with the mean of its slates.
The test bets, group by group, against the hypothesis that the bound is violated: if it is violated,
the capital exceeds 1 / delta with a probability of at most delta (Waudby-Smith and Ramdas 2020).
This holds for any number of groups, if they are independent and identically distributed.

Thresholds are tested in chains, from a start to looser ones until one fails, which costs no
confidence (fixed-sequence testing: Angelopoulos et al. 2021, "Learn then Test"). Several starts
share delta, as a very strict filter shows too few items for evidence. Thresholds and starts are
fixed before any slate is seen.

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

_STARTS = (0.25, 1.0, 2.0, 4.0)
"""Multiples of the allowed share at which chains start."""

RESAMPLES = 1_000

Count: TypeAlias = NDArray[Any] | float
"""Number of pairs; or (D,) of each draw."""

_MAX_STAKE = 0.9
"""Largest share of the capital that a bet can lose."""


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

    def lowest_share_after(self, max_replaced: float) -> float:
        """The least irrelevant share that replacing a share of the shown pairs can leave.

        That of an oracle that knows the labels: irrelevant pairs go, as long as the rest of their
        slate has relevant ones to take their place.
        """
        before = self.is_shown(np.inf)
        count = int(self.slates.max()) + 1
        irrelevant = np.bincount(self.slates, before & self.is_irrelevant, count)  # (S,)
        spare = np.bincount(self.slates, ~before & ~self.is_irrelevant, count)
        removed = min(float(np.minimum(irrelevant, spare).sum()), max_replaced * before.sum())
        return float((irrelevant.sum() - removed) / max(1, before.sum()))


def safe_threshold(
    calibration: LabelledSlates, allowed: float, confidence: float = 0.95, seed: int = 0
) -> float | None:
    """The largest threshold at which the irrelevant share of the shown pairs is within a bound.

    Args:
        calibration: slates that the filter was not trained on.
        allowed: bound of the irrelevant share, between 0 and 1.
        confidence: probability that the bound holds.
        seed: order in which groups are tested.

    Returns:
        the threshold, infinity if nothing needs to be removed; None if no threshold is proven safe.
    """
    thresholds = [*_THRESHOLDS, np.inf]
    delta, safe = (1 - confidence) / len(_STARTS), []
    for start in _STARTS:
        for threshold in thresholds[int(np.searchsorted(_THRESHOLDS, start * allowed)) :]:
            if not _is_proven(
                _excess(calibration, threshold, allowed, seed), calibration.size, allowed, delta
            ):
                break
            safe.append(threshold)
    return max(safe, default=None)


def _excess(
    calibration: LabelledSlates, threshold: float, allowed: float, seed: int
) -> NDArray[np.float64]:
    """(G,) mean excess of the slates of each group, in random order."""
    shown = calibration.is_shown(threshold)
    group_ids, group_of = np.unique(calibration.groups, return_inverse=True)
    excess = np.bincount(group_of, shown * (calibration.is_irrelevant - allowed), len(group_ids))
    firsts = np.unique(calibration.slates, return_index=True)[1]
    num_slates = np.bincount(group_of[firsts], minlength=len(group_ids))
    return (excess / num_slates)[np.random.default_rng(seed).permutation(len(group_ids))]


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


def _is_proven(excess: NDArray[np.float64], size: int, allowed: float, delta: float) -> bool:
    """Whether bets reject a mean excess (G,) above 0; each lies in -allowed x size .. size."""
    zero = allowed / (1 + allowed)  # an excess of 0, scaled to 0 .. 1
    values = excess / (size * (1 + allowed)) + zero
    step = np.arange(1, len(values) + 1)
    # A stake may depend on earlier groups only: on their variance, with one more group of little
    # variance added, as that of a good filter is.
    squares = (values - (zero + values.cumsum()) / (step + 1)) ** 2
    variance = (zero * (1 - zero) / 4 + np.concatenate([[0.0], squares.cumsum()[:-1]])) / step
    stake = np.sqrt(2 * np.log(1 / delta) / (len(values) * variance))
    stake = np.minimum(stake, _MAX_STAKE / (1 - zero))
    capital = np.log1p(-stake * (values - zero)).cumsum()  # (G,) logarithm
    return bool(capital.max(initial=0.0) >= np.log(1 / delta))


def _ranks(slates: IntArray) -> NDArray[np.intp]:
    """(P,) rank of each row in its slate, from 0; rows of one slate are adjacent."""
    starts = np.flatnonzero(np.diff(slates, prepend=-1))
    return np.arange(len(slates)) - np.repeat(starts, np.diff(np.append(starts, len(slates))))


def _share(labels: BoolArray, mask: BoolArray) -> float:
    return float((labels & mask).sum() / max(1, mask.sum()))
