"""Variants of one item in a list: the best of them is shown, the others behind all others."""

from __future__ import annotations

import numpy as np

from serendip.engine.stages.base import Kept, ListFilter, OrderedCandidates
from serendip.search.variants import UNTITLED


class VariantFilter(ListFilter):
    """Moves items behind the others of which a variant comes before them; removes none."""

    name, label = "variants", "With variants of one item behind the others"

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """All candidates: the first of each item and its variants, then the others."""
        numbers = ordered.state.variants[ordered.items]
        is_first = numbers == UNTITLED
        is_first[np.unique(numbers, return_index=True)[1]] = True
        order = np.concatenate([np.flatnonzero(is_first), np.flatnonzero(~is_first)])
        return Kept(np.ones(len(order), np.bool_), order=order)
