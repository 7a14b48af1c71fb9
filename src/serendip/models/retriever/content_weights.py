"""Weights of content and quality next to the network, by grid search on validation nDCG@10.

Per task, the largest content weight whose validation nDCG@10 is within 0.5 % of the best: content
generalises to cold items, which validation hardly contains. For requests with a text, the weight of
the text's cosine is tuned first, then the weight of the context's cosine given the former.

Shapes: B rows, T steps, M requests per row, R requests with a target, N items, P ranked items, Q
queries, C content size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from serendip.data import FloatArray
from serendip.models.retriever.artefact import QualityVector
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.content_scores import DECAY
from serendip.models.retriever.requests import NONE, SIMILAR, LongArray
from serendip.models.retriever.validation import ValidationRequests

_ABOUT_AS_WELL = 0.995
"""Share of the best nDCG@10 that a larger weight must keep."""

_CONTEXT_WEIGHTS = (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
_WORD_WEIGHTS = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0)


def tune_content_weights(
    validation: Callable[[], Iterable[ValidationRequests]],
    aligned: FloatArray,
    content: FloatArray,
    words: FloatArray,
) -> FloatArray:
    """Tune the weights (2,) of the context's cosine and of the text's cosine for one task.

    The validation requests of the task are the same at every call. Of the unit vectors, the aligned
    ones (N, C) are compared with the context, those as encoded (N, C) with texts; ``words`` (Q, C)
    are those of the example queries, Q = 0 for tasks without texts.
    """
    text = 0.0
    if len(words):
        text = _largest(
            validation,
            lambda block: (words_cosines(block.batch, words, content[block.ranked]), 0.0),
            _WORD_WEIGHTS,
        )
    context = _largest(
        validation,
        lambda block: (
            context_cosines(block.batch, aligned, block.ranked),
            text * words_cosines(block.batch, words, content[block.ranked]) if text else 0.0,
        ),
        _CONTEXT_WEIGHTS,
    )
    return np.array([context, text], np.float32)


def _largest(
    validation: Callable[[], Iterable[ValidationRequests]],
    cosines: Callable[[ValidationRequests], tuple[FloatArray, FloatArray | float]],
    weights: Sequence[float],
) -> float:
    """Largest weight of the first cosines whose nDCG@10 is about the best.

    ``cosines`` gives two terms (R, P): the one to weight and a fixed one that is added.
    """
    gains = np.zeros(len(weights))
    for requests in validation():
        gains += requests.gains(*cosines(requests), weights)
    threshold = _ABOUT_AS_WELL * gains.max()
    # Without validation requests, or with nDCG 0 everywhere, this is the largest weight: nothing
    # then speaks for the network, and content is the only evidence.
    return max(weight for weight, gain in zip(weights, gains, strict=True) if gain >= threshold)


def context_cosines(
    batch: TrainingBatch, vectors: FloatArray, ranked: LongArray | slice = slice(None)
) -> FloatArray:
    """Cosines (R, P) of the context's mean aligned content, recency-weighted, to ranked items.

    Same weights as ``ContentScores``. The context of a similar request is its source alone, as in
    ``context.compute_context_weights``.
    """
    visible = batch.places[:, None, :] < batch.prefix[:, :, None]  # (B, M, T)
    age = batch.prefix[:, :, None] - 1 - batch.places[:, None, :]  # (B, M, T)
    weights = np.where(visible, DECAY ** np.maximum(age, 0), 0.0)  # (B, M, T)
    weights /= np.maximum(weights.sum(2, keepdims=True), 1e-12)
    has_target = batch.target >= 0  # (B, M)
    # (B, M, T) @ (B, T, C): one mean per request
    means = (weights.astype(np.float32) @ vectors[batch.items])[has_target]  # (R, C)
    source = batch.source[has_target]  # (R,)
    is_similar = (batch.task[has_target] == SIMILAR) & (source != NONE)
    means[is_similar] = vectors[source[is_similar]]
    return np.asarray(means @ vectors[ranked].T, np.float32)


def words_cosines(batch: TrainingBatch, words: FloatArray, vectors: FloatArray) -> FloatArray:
    """Cosines (R, P) of query texts to vectors (P, C); zeros for requests without a query."""
    query = batch.query[batch.target >= 0]  # (R,)
    texts = np.where((query != NONE)[:, None], words[np.maximum(query, 0)], np.float32(0))  # (R, C)
    return np.asarray(texts @ vectors.T, np.float32)


SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Weights of the mean quality that are tried, relative to the spread of the scores: beyond that,
quality would replace relevance instead of choosing among relevant items."""


def tune_quality(
    tasks: Iterable[Iterable[tuple[ValidationRequests, FloatArray | float]]],
    values: FloatArray,
    most_loss: float,
) -> QualityVector:
    """The quality (N, Q) of items, with the largest weights within the bound ``most_loss``.

    The bound is a share in (0, 1). The validation requests of each task come in blocks, with what
    is added to their scores besides. Weights are 0 without any.
    """
    worth, weights = values.mean(axis=1), np.zeros(len(SHARES))
    is_within = np.ones(len(SHARES), np.bool_)
    for blocks in tasks:
        gains = np.zeros(len(SHARES))
        for block, content in blocks:
            if not weights.any():
                weights = float((block.scores + content).std()) * np.array(SHARES)
            gains += block.gains(worth[block.ranked], content, weights.tolist())
        is_within &= gains >= (1 - most_loss) * gains[0]
    weight = np.full(values.shape[1], weights[is_within].max() / values.shape[1], np.float32)
    return QualityVector(values, weight)
