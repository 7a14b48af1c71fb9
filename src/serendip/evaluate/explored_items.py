"""How often explored items are chosen, estimated without the bias of their selection.

Exploration draws promising items more often, so the plain share of explored items that were chosen
says how good the draws are, not how good new items are. Weighed by 1 / propensity, every item that
could have been drawn counts alike (Horvitz and Thompson 1952). The estimate is self-normalised,
sum(w y) / sum(w), which stays between 0 and 1 (Swaminathan and Joachims 2015, "The Self-Normalized
Estimator for Counterfactual Learning"), and weights are clipped: w = min(1 / propensity,
``MOST_WEIGHT``), so that one lucky draw does not decide. Clipping lowers the weight of the least
promising items; ``clipped`` says how many impressions it changes.

The 95 % interval is a bootstrap over users of the estimate, linearised: user u has the value
r + U (a_u - r b_u) / sum(b), where r = sum(a) / sum(b), a_u = sum of w y and b_u = sum of w of u.

Shapes: S impressions of explored items, U users who had one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.events.search_log import LoggedRequest
from serendip.evaluate.intervals import RESAMPLES, Estimate, estimate
from serendip.evaluate.runs import Values

MOST_WEIGHT = 100.0
"""Largest weight: that of an item that is drawn once in a hundred times."""


@dataclass(frozen=True, slots=True)
class ExplorationFigures:
    """What the log says of explored items; see the module's docstring.

    Args:
        impressions: of items with a propensity.
        choices: impressions whose item was chosen from the same answer.
        clipped: impressions with the largest weight.
        most_weight: the largest weight.
        rate: estimated share of new items that are chosen where they are shown.
    """

    impressions: int
    choices: int
    clipped: int
    most_weight: float
    rate: Estimate


def measure_exploration(
    requests: Sequence[LoggedRequest],
    seed: int = 0,
    resamples: int = RESAMPLES,
    most_weight: float = MOST_WEIGHT,
) -> ExplorationFigures:
    """Estimate how often new items are chosen, from all explored impressions.

    Requests without a propensity count nowhere.

    Args:
        requests: of the log.
        seed: of the bootstrap.
        resamples: number of bootstrap draws.
        most_weight: weights are clipped to it.
    """
    parts = [_explored_of(request) for request in requests if len(request.propensities)]
    if not sum(len(drawn) for drawn, _ in parts):
        return ExplorationFigures(0, 0, 0, most_weight, Estimate(None, None, None, 0))
    drawn, chosen = (np.concatenate(part) for part in zip(*parts, strict=True))  # (S,) each
    ids = [request.user_id for request in requests if len(request.propensities)]
    of_request = np.repeat(np.array(ids), [len(drawn) for drawn, _ in parts])  # (S,)
    users = np.unique(of_request, return_inverse=True)[1].reshape(-1)
    inverse = 1.0 / drawn
    weights = np.minimum(inverse, most_weight)
    gains, bases = np.bincount(users, weights * chosen), np.bincount(users, weights)  # (U,) each
    rate = gains.sum() / bases.sum()
    values = rate + len(bases) * (gains - rate * bases) / bases.sum()  # (U,); their mean is rate
    found = estimate(values, seed, resamples)
    low, high = (
        None if end is None else min(max(end, 0.0), 1.0) for end in (found.low, found.high)
    )
    return ExplorationFigures(
        len(inverse),
        int(chosen.sum()),
        int((inverse > most_weight).sum()),
        most_weight,
        Estimate(float(rate), low, high, len(bases)),
    )


def _explored_of(request: LoggedRequest) -> tuple[Values, BoolArray]:
    """Propensity of the explored items of a request, and whether they were chosen."""
    is_known = ~np.isnan(request.propensities)  # (S,)
    return request.propensities[is_known], np.isin(request.shown[is_known], request.chosen)
