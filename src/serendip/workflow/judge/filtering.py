"""What a filter by a judge's chances does to lists: half of them choose its cut, half are told.

A list is what a query would be shown, the likest first. There are two cuts: the loosest that is
safe (at most 5 % of what is shown is bad, at a confidence of 95 %), and the strictest that
replaces no more than a tenth of what is shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.evaluate.risk_control import JudgedLists, cut_replacing, safe_cut
from serendip.workflow.judge.gold import Lists

SHOWN = 10
ALLOWED, CONFIDENCE, REPLACED = 0.05, 0.95, 0.1


def filtered(listed: Lists, chances: FloatArray) -> dict[str, Any] | None:
    """Effect of both cuts on the half of the lists that chose neither; None for a single unit.

    Args:
        listed: all lists; units are kept together where lists are parted.
        chances: (P,) that their pairs are bad.
    """
    pairs = listed.pairs
    if len(np.unique(pairs.units)) < 2:
        return None
    judged = JudgedLists(chances, pairs.is_bad, pairs.queries, pairs.units, SHOWN)
    calibration, told = judged.in_order(listed.likeness).halves()
    safe = safe_cut(calibration, ALLOWED, CONFIDENCE)
    tenth = cut_replacing(calibration, REPLACED)
    return {
        "size": SHOWN,
        "lists": len(np.unique(told.lists)),
        "allowed": ALLOWED,
        "confidence": CONFIDENCE,
        "best_after": told.best_after(REPLACED),
        "safe": None if safe is None else _told(told, safe),
        "tenth": _told(told, tenth),
    }


def _told(judged: JudgedLists, cut: float) -> dict[str, Any]:
    return {**judged.effect(cut), "ci95": judged.ends(cut)}
