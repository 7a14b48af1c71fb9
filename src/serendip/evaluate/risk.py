"""The loosest cut of a filter that keeps a promise: few of what is shown are bad, at a confidence.

A filter takes out of a list what is at least as likely to be bad as its cut, and the next ones move
up. For every list the excess is how many are shown and bad, minus the allowed share of what is
shown; a cut keeps the promise where the mean excess is not above 0. One test bets, list by list,
against the promise being broken: if it is, its capital passes 1 / delta with a chance of at most
delta (Waudby-Smith and Ramdas 2020). That holds for any number of lists, with nothing assumed but
that they are drawn alike and alone.

Cuts are tested in chains, from a start on to looser ones until one fails, which costs no confidence
(fixed sequences: Angelopoulos et al. 2021, "Learn then Test"). There are several starts, which
share delta, where the chances themselves promise some part of what is allowed: a stricter filter
shows too little to prove anything.

Shapes: P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray

_CUTS = 48
_STARTS = (0.1, 0.25, 0.5, 0.75)
"""Parts of the allowed share that a chain starts at, if the chances are right."""

_BOLDEST = 0.9
"""Share of the capital that a bet loses at worst."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedLists:
    """Lists in the order in which they would be shown, with what is said of each pair.

    Args:
        chances: (P,) that a pair is bad, by the filter.
        is_bad: (P,) what people say.
        lists: (P,) int32 which list a pair is of; pairs of a list in its order.
        size: how many of a list are shown.
    """

    chances: FloatArray
    is_bad: BoolArray
    lists: IntArray
    size: int

    def shown(self, cut: float) -> BoolArray:
        """(P,) what is shown if all at or above the cut are taken out."""
        order = np.argsort(self.lists, kind="stable")
        passed = (self.chances < cut)[order]
        counted, owner = passed.cumsum(), self.lists[order]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        before = np.repeat(
            np.concatenate([[0], counted])[starts], np.diff(np.append(starts, len(owner)))
        )
        mask = np.zeros(len(order), np.bool_)
        mask[order] = passed & (counted - before <= self.size)
        return mask

    def effect(self, cut: float) -> dict[str, float]:
        """Bad share of what is shown before and after, and which share of it was replaced.

        ``lost`` is the share of good ones that were shown before and are not any more.
        """
        before, after = self.shown(np.inf), self.shown(cut)
        taken = before & (self.chances >= cut)
        return {
            "bad_before": _share(self.is_bad, before),
            "bad_after": _share(self.is_bad, after),
            "replaced": float(taken.sum() / max(1, before.sum())),
            "lost": float((taken & ~self.is_bad).sum() / max(1, (before & ~self.is_bad).sum())),
            "shown": float(after.sum() / max(1, before.sum())),
        }


def safe_cut(
    judged: JudgedLists, allowed: float, confidence: float = 0.95, seed: int = 0
) -> float | None:
    """The largest cut at which at most a share ``allowed`` of what is shown is bad.

    Args:
        judged: lists of calibration, of which the filter has learned nothing.
        allowed: between 0 and 1.
        confidence: that the promise holds.
        seed: of the order in which lists are looked at.

    Returns:
        the cut, infinity where nothing need be taken out; None where no filter is safe.
    """
    cuts = [*np.quantile(judged.chances, np.arange(1, _CUTS) / _CUTS).tolist(), np.inf]
    different, place = np.unique(judged.lists, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(different))
    masks = [judged.shown(cut) for cut in cuts]
    promised = np.array([_mean(judged.chances, mask) for mask in masks])
    delta, safe = (1 - confidence) / len(_STARTS), []
    for part in _STARTS:
        start = max(0, int(np.searchsorted(promised, part * allowed, side="right")) - 1)
        for cut, mask in zip(cuts[start:], masks[start:], strict=True):
            shown, bad = (
                np.bincount(place, one, len(different)) for one in (mask, mask & judged.is_bad)
            )
            if not _is_kept((bad - allowed * shown)[order], judged.size, allowed, delta):
                break
            safe.append(cut)
    return max(safe, default=None)


def cut_replacing(judged: JudgedLists, most: float) -> float:
    """The smallest cut that replaces no more than a share ``most`` of what is shown."""
    chances = np.sort(judged.chances[judged.shown(np.inf)])
    cuts = np.append(np.unique(chances), np.inf)
    taken = (len(chances) - np.searchsorted(chances, cuts)) / len(chances)
    return float(cuts[taken <= most][0])


def _is_kept(excess: NDArray[np.float64], size: int, allowed: float, delta: float) -> bool:
    """Whether bets against a mean excess above 0 win; each is -allowed x size .. size."""
    zero = allowed / (1 + allowed)
    values = excess / (size * (1 + allowed)) + zero
    line = np.arange(1, len(values) + 1)
    # A stake may know of nothing but the lists before: their spread, as if one more had been seen
    # that hardly differs from the others, as lists of a good filter do.
    squares = (values - (zero + values.cumsum()) / (line + 1)) ** 2
    spread = (zero * (1 - zero) / 4 + np.concatenate([[0.0], squares.cumsum()[:-1]])) / line
    stake = np.sqrt(2 * np.log(1 / delta) / (len(values) * spread))
    stake = np.minimum(stake, _BOLDEST / (1 - zero))
    capital = np.log1p(-stake * (values - zero)).cumsum()
    return bool(capital.max(initial=0.0) >= np.log(1 / delta))


def _mean(chances: FloatArray, mask: BoolArray) -> float:
    return float(chances[mask].mean()) if mask.any() else 0.0


def _share(of: BoolArray, mask: BoolArray) -> float:
    return float((of & mask).sum() / max(1, mask.sum()))
