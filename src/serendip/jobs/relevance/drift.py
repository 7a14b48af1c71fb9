"""Drift of requests: whether what people ask looks like the requests that were labelled.

What is proven of a threshold holds for requests like those of the gold labels. What a relevance
model says of the first items of both is compared by the population stability index over tenths.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.query import Query
from serendip.data.text import normalise
from serendip.jobs.train.drift import stability_index

MIN_REQUESTS, MAX_REQUESTS = 30, 500
"""Requests of the gold and of the log that drift is measured from on, and up to which."""

DRIFTED = 0.25
"""Population stability index from which the logged requests are called others, the usual bound."""

_TENTHS = 10
_PRIOR = 0.5
"""Pseudo-count of each tenth, so that an empty one has a logarithm."""


def distinct_requests(queries: Sequence[Query]) -> list[Query]:
    """The newest different ones of logged requests: by their text, else by their user."""
    found: dict[str, Query] = {}
    for query in reversed(queries):
        found.setdefault(normalise(query.text) or f"\0{query.user_id}", query)
    return list(found.values())[:MAX_REQUESTS]


def measure_drift(
    counts: tuple[int, int], expected: FloatArray, found: FloatArray
) -> dict[str, Any]:
    """The index and, if the logged requests are others, a warning.

    Args:
        counts: number of gold and of logged requests; with too few there is no index.
        expected: (P,) P(irrelevant) of the first items of gold requests.
        found: (R,) of those of logged requests.
    """
    facts = {"gold_requests": counts[0], "logged_requests": counts[1]}
    if min(counts) < MIN_REQUESTS or not min(len(expected), len(found)):
        return {**facts, "index": None, "warning": ""}
    index, warning = compare_tenths(expected, found), ""
    if index >= DRIFTED:
        warning = (
            f"logged requests differ from the gold queries (index {index:.2f}): what is proven of "
            "a threshold does not hold for them; label some of them and distil again"
        )
    return {**facts, "index": index, "warning": warning}


def compare_tenths(expected: FloatArray, found: FloatArray) -> float:
    """Population stability index of two samples of probabilities, over tenths of the first.

    Args:
        expected: (P,) probabilities whose tenths are the groups.
        found: (R,) probabilities.
    """
    borders = np.quantile(expected, np.arange(1, _TENTHS) / _TENTHS)  # (9,)
    profiles = []
    for sample in (expected, found):
        counts = np.bincount(np.searchsorted(borders, sample, side="right"), minlength=_TENTHS)
        profiles.append((counts + _PRIOR) / (counts.sum() + _TENTHS * _PRIOR))
    return stability_index(profiles[0], profiles[1])
