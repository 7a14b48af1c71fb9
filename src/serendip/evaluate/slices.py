"""Evaluation slices of the requests: cold, tail and warm items, cold and warm users.

A slice is the requests with a certain value of a flag. Its users are those with at least one such
request, and a user's value is the mean over these. An empty slice has n = 0 and no value.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.errors import DataError
from serendip.evaluate.runs import Judged

ALL = "all"

_SLICES: dict[str, tuple[str, bool]] = {
    "warm items": ("cold_item", False),
    "cold items": ("cold_item", True),
    "tail items": ("tail_item", True),
    "warm users": ("cold_user", False),
    "cold users": ("cold_user", True),
}
"""Slice -> (flag, value). A cold item has no event in the train part, a tail item is among the 80 %
least popular, a cold user has fewer than 3 events before the request."""

FLAGS = tuple(sorted({flag for flag, _ in _SLICES.values()}))


def slices(judged: Judged) -> dict[str, BoolArray]:
    """Slice name -> mask (T,), "all" first; slices without their flag are left out.

    Raises:
        DataError: a flag is not that of a slice.
    """
    for flag in judged.flags:
        if flag not in FLAGS:
            raise DataError(f"flag {flag!r} belongs to no slice.", f"Known: {', '.join(FLAGS)}.")
    masks: dict[str, BoolArray] = {ALL: np.ones(len(judged), dtype=np.bool_)}
    for name, (flag, value) in _SLICES.items():
        if flag in judged.flags:
            masks[name] = np.asarray(judged.flags[flag], dtype=np.bool_) == value
    return masks
