"""Content weights next to the network, tuned per task by grid search on validation nDCG@10.

Per task, the largest content weight whose validation nDCG@10 is within 0.5 % of the best: content
generalises to cold items, which validation hardly contains. For requests with a text, the weight of
the text's cosine is tuned first, then the weight of the context's cosine given the former.

Shapes: B rows, T steps, M requests per row, R requests with a target, N items, Q queries, C content
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serendip.data.arrays import BoolArray, FloatArray
from serendip.models.early_stopping import compute_target_ndcg
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.content_scores import DECAY
from serendip.models.retriever.requests import NONE, SIMILAR

_ABOUT_AS_WELL = 0.995
"""Share of the best nDCG@10 that a larger weight must keep."""

_CONTEXT_WEIGHTS = (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
_WORD_WEIGHTS = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0)


@dataclass(frozen=True, slots=True, eq=False)
class ValidationRequests:
    """Validation requests of one task with their targets and the network's scores.

    Args:
        batch: the requests.
        targets: (R,) target items.
        scores: (R, N) scores of the network.
    """

    batch: TrainingBatch
    targets: Tensor
    scores: FloatArray

    def gain(self, added: FloatArray | float = 0.0) -> float:
        """Sum of the targets' nDCG@10, ranked by the network's scores plus ``added`` (R, N)."""
        wanted = self.targets.numpy()
        return float(compute_target_ndcg(self.scores + added, wanted, self.excluded).sum())

    @property
    def excluded(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Index pairs (request, item) that are not ranked: items in the history, and the source."""
        request, step = np.nonzero(shown(self.batch))  # pairs of (R, T)
        has_target = self.batch.target >= 0  # (B, M)
        row = np.nonzero(has_target)[0][request]
        source = self.batch.source[has_target]  # (R,)
        with_source = np.flatnonzero(source != NONE)
        return (
            np.concatenate([request, with_source]),
            np.concatenate([self.batch.items[row, step], source[with_source]]),
        )


def tune_content_weights(
    validation: Callable[[], Iterable[ValidationRequests]],
    aligned: FloatArray,
    content: FloatArray,
    words: FloatArray,
) -> FloatArray:
    """Tune the weights (2,) of the context's cosine and of the text's cosine for one task.

    Args:
        validation: yields the validation requests of the task, the same at every call.
        aligned: (N, C) aligned unit vectors of the items, compared with the context.
        content: (N, C) unit vectors of the items as encoded, compared with texts.
        words: (Q, C) unit vectors of the example queries; Q = 0 for tasks without texts.
    """
    text = 0.0
    if len(words):
        text = _largest(
            validation, lambda batch: (words_cosines(batch, words, content), 0.0), _WORD_WEIGHTS
        )
    context = _largest(
        validation,
        lambda batch: (
            context_cosines(batch, aligned),
            text * words_cosines(batch, words, content) if text else 0.0,
        ),
        _CONTEXT_WEIGHTS,
    )
    return np.array([context, text], np.float32)


def _largest(
    validation: Callable[[], Iterable[ValidationRequests]],
    cosines: Callable[[TrainingBatch], tuple[FloatArray, FloatArray | float]],
    weights: Sequence[float],
) -> float:
    """Largest weight of the first cosines whose nDCG@10 is about the best.

    ``cosines`` gives two terms (R, N): the one to weight and a fixed one that is added.
    """
    gains = dict.fromkeys(weights, 0.0)
    for requests in validation():
        weighted, fixed = cosines(requests.batch)
        for weight in gains:
            gains[weight] += requests.gain(np.float32(weight) * weighted + fixed)
    threshold = _ABOUT_AS_WELL * max(gains.values())
    # Without validation requests, or with nDCG 0 everywhere, this is the largest weight: nothing
    # then speaks for the network, and content is the only evidence.
    return max(weight for weight, gain in gains.items() if gain >= threshold)


def shown(batch: TrainingBatch) -> BoolArray:
    """Mask (R, T) of the history steps visible to each request with a target."""
    steps: BoolArray = (batch.places[:, None, :] < batch.prefix[:, :, None])[batch.target >= 0]
    return steps


def context_cosines(batch: TrainingBatch, vectors: FloatArray) -> FloatArray:
    """Cosines (R, N) of the context's mean aligned content, recency-weighted, to items.

    Same weights as ``ContentScores``. The context of a similar request is its source alone, as in
    ``context.compute_context_weights``.
    """
    row, request = np.nonzero(batch.target >= 0)  # (R,) each
    age = batch.prefix[row, request][:, None] - 1 - batch.places[row]  # (R, T)
    weights = np.where(shown(batch), DECAY ** np.maximum(age, 0), 0.0)  # (R, T)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    means = np.einsum("rt,rtc->rc", weights.astype(np.float32), vectors[batch.items[row]])
    source = batch.source[row, request]  # (R,)
    is_similar = (batch.task[row, request] == SIMILAR) & (source != NONE)
    means[is_similar] = vectors[source[is_similar]]
    return np.asarray(means @ vectors.T, np.float32)


def words_cosines(batch: TrainingBatch, words: FloatArray, vectors: FloatArray) -> FloatArray:
    """Cosines (R, N) of query texts to items; zeros for requests without a query."""
    query = batch.query[batch.target >= 0]  # (R,)
    texts = np.where((query != NONE)[:, None], words[np.maximum(query, 0)], np.float32(0))  # (R, C)
    return np.asarray(texts @ vectors.T, np.float32)
