"""Distribution-free risk control: the loosest filter threshold with a bound on irrelevant items.

A filter removes items whose P(irrelevant) is at least the threshold, and the next ones move up. The
excess of a list is the number of irrelevant items shown, minus the allowed share of the items
shown; a threshold is safe if the mean excess is not above 0. Lists of one group (an occupation with
many titles, say) are correlated, so the sample is of groups, each with the mean of its lists. The
test bets, group by group, against the hypothesis that the bound is violated: if it is violated, the
capital exceeds 1 / delta with a probability of at most delta (Waudby-Smith and Ramdas 2020). This
holds for any number of groups, if they are independent and identically distributed.

Thresholds are tested in chains, from a start to looser ones until one fails, which costs no
confidence (fixed-sequence testing: Angelopoulos et al. 2021, "Learn then Test"). Several starts
share delta, as a very strict filter shows too few items for evidence. Thresholds and starts are
fixed before any list is seen.

Shapes: P pairs (query, item), U units (groups of lists), R bootstrap draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray

_THRESHOLDS = tuple(1 / (1 + np.exp(np.linspace(6, -6, 49))))
"""Chances at which something may be taken out."""

_STARTS = (0.25, 1.0, 2.0, 4.0)
"""Multiples of the allowed share at which chains start."""

RESAMPLES = 1_000
"""Bootstrap draws of the intervals."""

_MAX_LOSS = 0.9
"""Largest share of the capital that a bet can lose."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSlates:
    """Ranked lists of queries, with the label of every pair of query and item.

    Args:
        probabilities: (P,) that a pair is bad, by the filter.
        is_bad: (P,) what people say.
        lists: (P,) int32 which list a pair is of; pairs of a list in its order.
        units: (P,) int32 which lists belong together.
        size: how many of a list are shown.
    """

    probabilities: FloatArray
    is_bad: BoolArray
    lists: IntArray
    units: IntArray
    size: int

    def in_order(self, likeness: FloatArray) -> LabelledSlates:
        """The same with the highest likeness (P,) of each list first."""
        return self._rows(np.lexsort((-likeness, self.lists)))

    def halves(self) -> tuple[LabelledSlates, LabelledSlates]:
        """Whole units in two, by seed 0: one half chooses a threshold, the other is told of."""
        units, unit = np.unique(self.units, return_inverse=True)
        chooses = np.random.default_rng(0).permutation(len(units))[unit] % 2 == 0
        return self._rows(np.flatnonzero(chooses)), self._rows(np.flatnonzero(~chooses))

    def _rows(self, rows: NDArray[np.intp]) -> LabelledSlates:
        pairs = self.probabilities[rows], self.is_bad[rows], self.lists[rows], self.units[rows]
        return LabelledSlates(*pairs, self.size)

    def shown(self, threshold: float) -> BoolArray:
        """(P,) what is shown if all at or above the threshold are taken out."""
        order = np.argsort(self.lists, kind="stable")
        passed = (self.probabilities < threshold)[order]
        counted, owner = passed.cumsum(), self.lists[order]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        before = np.repeat(
            np.concatenate([[0], counted])[starts], np.diff(np.append(starts, len(owner)))
        )
        mask = np.zeros(len(order), np.bool_)
        mask[order] = passed & (counted - before <= self.size)
        return mask

    def effect(self, threshold: float) -> dict[str, float]:
        """Bad share of what is shown before and after, and which share of it was replaced.

        ``lost`` is the share of good ones that were shown before and are not any more, ``fall`` by
        which share of itself the bad share falls.
        """
        before, after = self.shown(np.inf), self.shown(threshold)
        taken = before & (self.probabilities >= threshold)
        first, last = _share(self.is_bad, before), _share(self.is_bad, after)
        return {
            "bad_before": first,
            "bad_after": last,
            "fall": 1 - last / first if first else 0.0,
            "replaced": float(taken.sum() / max(1, before.sum())),
            "lost": float((taken & ~self.is_bad).sum() / max(1, (before & ~self.is_bad).sum())),
            "shown": float(after.sum() / max(1, before.sum())),
        }

    def ends(self, threshold: float, seed: int = 0) -> dict[str, list[float]]:
        """95 % intervals, which draw whole units, of both bad shares and of how far they fall."""
        before, after = self.shown(np.inf), self.shown(threshold)
        different, place = np.unique(self.units, return_inverse=True)
        sums = np.stack(
            [
                np.bincount(place, mask, len(different))
                for mask in (before, before & self.is_bad, after, after & self.is_bad)
            ]
        )
        random, count = np.random.default_rng(seed), len(different)
        drawn = random.multinomial(count, np.full(count, 1 / count), RESAMPLES) @ sums.T
        first, last = (drawn[:, at + 1] / np.maximum(1, drawn[:, at]) for at in (0, 2))
        fall = 1 - np.divide(last, first, out=np.ones_like(last), where=first > 0)
        told = {"bad_before": first, "bad_after": last, "fall": fall}
        return {name: np.quantile(one, (0.025, 0.975)).tolist() for name, one in told.items()}

    def best_after(self, most: float) -> float:
        """The least bad share that replacing a share ``most`` of what is shown can leave.

        As somebody would reach it who knows the labels: bad ones go, where the rest of their list
        has a good one for them.
        """
        before = self.shown(np.inf)
        count = int(self.lists.max()) + 1
        bad = np.bincount(self.lists, before & self.is_bad, count)
        spare = np.bincount(self.lists, ~before & ~self.is_bad, count)
        gone = min(float(np.minimum(bad, spare).sum()), most * before.sum())
        return float((bad.sum() - gone) / max(1, before.sum()))


def safe_threshold(
    judged: LabelledSlates, allowed: float, confidence: float = 0.95, seed: int = 0
) -> float | None:
    """The largest threshold at which at most a share ``allowed`` of what is shown is bad.

    Args:
        judged: lists of calibration, of which the filter has learned nothing.
        allowed: between 0 and 1.
        confidence: that the promise holds.
        seed: of the order in which units are looked at.

    Returns:
        the threshold, infinity where nothing need be taken out; None where no filter is safe.
    """
    thresholds = [*_THRESHOLDS, np.inf]
    delta, safe = (1 - confidence) / len(_STARTS), []
    for part in _STARTS:
        for threshold in thresholds[int(np.searchsorted(_THRESHOLDS, part * allowed)) :]:
            if not _is_kept(_excess(judged, threshold, allowed, seed), judged.size, allowed, delta):
                break
            safe.append(threshold)
    return max(safe, default=None)


def _excess(
    judged: LabelledSlates, threshold: float, allowed: float, seed: int
) -> NDArray[np.float64]:
    """Mean excess of the lists of each unit, the units in random order."""
    shown = judged.shown(threshold)
    different, place = np.unique(judged.units, return_inverse=True)
    excess = np.bincount(place, shown * (judged.is_bad - allowed), len(different))
    firsts = np.unique(judged.lists, return_index=True)[1]
    lists = np.bincount(place[firsts], minlength=len(different))
    return (excess / lists)[np.random.default_rng(seed).permutation(len(different))]


def threshold_replacing(judged: LabelledSlates, most: float) -> float:
    """The smallest threshold that replaces no more than a share ``most`` of what is shown."""
    probabilities = np.sort(judged.probabilities[judged.shown(np.inf)])
    thresholds = np.append(np.unique(probabilities), np.inf)
    taken = (len(probabilities) - np.searchsorted(probabilities, thresholds)) / len(probabilities)
    return float(thresholds[taken <= most][0])


def _is_kept(excess: NDArray[np.float64], size: int, allowed: float, delta: float) -> bool:
    """Test by betting whether the mean excess is at most 0, at level ``delta``.

    Args:
        excess: (U,) mean excess of each unit, in [-allowed * size, size].
        size: items shown per list.
        allowed: largest share of irrelevant items.
        delta: probability of accepting a threshold that violates the bound, at most.
    """
    zero = allowed / (1 + allowed)
    values = excess / (size * (1 + allowed)) + zero  # (U,) in [0, 1]; an excess of 0 is ``zero``
    count = np.arange(1, len(values) + 1)
    # A stake may depend only on earlier units (predictable plug-in): on their variance, with a
    # prior of one unit of small variance, as units of a good filter have.
    squares = (values - (zero + values.cumsum()) / (count + 1)) ** 2
    variance = (zero * (1 - zero) / 4 + np.concatenate([[0.0], squares.cumsum()[:-1]])) / count
    stake = np.sqrt(2 * np.log(1 / delta) / (len(values) * variance))
    stake = np.minimum(stake, _MAX_LOSS / (1 - zero))
    capital = np.log1p(-stake * (values - zero)).cumsum()  # log of the capital after each bet
    return bool(capital.max(initial=0.0) >= np.log(1 / delta))


def _share(of: BoolArray, mask: BoolArray) -> float:
    """Share of pairs in ``of`` among the pairs in ``mask``."""
    return float((of & mask).sum() / max(1, mask.sum()))
