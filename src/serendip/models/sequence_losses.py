"""What a wrong order costs: sampled softmax, gBCE, full softmax. Torch, for training only.

All requests of a step share one draw of negatives, so their scores are a single matrix product.
Where the draw would be a good part of the catalogue, the whole catalogue takes its place.

Shapes: T requests of a step, K negatives, N items, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data.arrays import FloatArray

WHOLE_BELOW = 2
"""Catalogues of at most this many times the negatives are scored whole."""


def draw_negatives(num_items: int, count: int, random: np.random.Generator) -> Tensor:
    """(K,) int64 uniform item numbers for one step; (N,) all of a small catalogue."""
    if num_items <= WHOLE_BELOW * count:
        return torch.arange(num_items)
    return torch.from_numpy(random.integers(0, num_items, count))


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of each request's own item and of the negatives.

    Args:
        own: (T,) score of the item that came next.
        others: (T, K) scores of the negatives; -inf where a negative is the own item.
        num_items: N, what the negatives stand for.
    """

    own: Tensor
    others: Tensor
    num_items: int


def shared_scores(
    encoded: Tensor,
    own: Tensor,
    others: Tensor,
    targets: Tensor,
    negatives: Tensor,
    num_items: int,
) -> Scores:
    """Dot products of requests with their own items and with the negatives of the step.

    Args:
        encoded: (T, D).
        own: (T, D) vectors of the items that came next.
        others: (K, D) vectors of the negatives.
        targets: (T,) int64 numbers of the items that came next.
        negatives: (K,) int64.
        num_items: N, what the negatives stand for.
    """
    scores = encoded @ others.T
    hits = targets[:, None] == negatives
    return Scores((encoded * own).sum(1), scores.masked_fill(hits, -torch.inf), num_items)


def sampled_softmax(scores: Scores, log_q: FloatArray | None = None) -> Tensor:
    """Mean cross-entropy of the own item among itself and the negatives.

    Args:
        scores: of one step.
        log_q: (K,) log of how often each negative is expected in the draw; subtracted from its
            score, so that the sum estimates the full softmax. None = no correction, which for
            uniform negatives weighs the own item more.
    """
    others = scores.others if log_q is None else scores.others - torch.from_numpy(log_q)
    return functional.softplus(others.logsumexp(1) - scores.own).mean()


def full_softmax(encoded: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Mean cross-entropy of the own item among all items; what sampling estimates."""
    return functional.cross_entropy(encoded @ table.T, targets)


def gbce(scores: Scores, calibration: float, bias: float = 0.0) -> Tensor:
    """Binary cross-entropy whose own item counts less, as sampling makes negatives too rare.

    gSASRec (Petrov and Macdonald, 2023): with a = K / (N - 1) the own item's log-sigmoid is
    weighed by b = a (t (1 - 1/a) + 1/a).

    Args:
        scores: of one step.
        calibration: t in [0, 1]; 0 = plain binary cross-entropy, 1 = as if nothing were sampled.
        bias: added to all scores; cosines need one, or all items are pushed to one side.
    """
    share = min(1.0, scores.others.shape[1] / max(1, scores.num_items - 1))
    weight = share * (calibration * (1 - 1 / share) + 1 / share)
    own = weight * functional.softplus(-scores.own - bias)
    return (own + functional.softplus(scores.others + bias).sum(1)).mean()
