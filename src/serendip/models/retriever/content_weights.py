"""How much content counts beside the network, per task: weighed on events it has not seen.

For every task the largest weight that foretells the asked events about as well as the best one:
what content says also holds for items that nobody has chosen yet, which the asked events hardly
contain. Of requests with words, the words are weighed first, then the context beside them.

Shapes: R requests with a target, N items, C content size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serendip.data.arrays import BoolArray, FloatArray
from serendip.models.early_stopping import ndcg_of_wanted
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.content_scores import DECAY
from serendip.models.retriever.requests import NONE, SIMILAR

_ABOUT_AS_WELL = 0.995
_CONTEXT_WEIGHTS = (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
_WORD_WEIGHTS = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0)


@dataclass(frozen=True, slots=True, eq=False)
class ValidationRequests:
    """Requests of one task, and everything that bears on the order of their answers.

    Args:
        batch: the requests.
        targets: (R,) what came next.
        scores: (R, N) what the network says.
    """

    batch: TrainingBatch
    targets: Tensor
    scores: FloatArray

    def gain(self, added: FloatArray | float = 0.0) -> float:
        """Summed nDCG@10 of the targets by the network's scores and what is ``added`` to them."""
        wanted = self.targets.numpy()
        return float(ndcg_of_wanted(self.scores + added, wanted, self.excluded).sum())

    @property
    def excluded(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Requests and items that are not ranked: what a request shows, and its source."""
        request, place = np.nonzero(shown(self.batch))
        asked = self.batch.target >= 0
        row = np.nonzero(asked)[0][request]
        source = self.batch.source[asked]
        named = np.flatnonzero(source != NONE)
        return (
            np.concatenate([request, named]),
            np.concatenate([self.batch.items[row, place], source[named]]),
        )


def tune_content_weights(
    asked: Callable[[], Iterable[ValidationRequests]],
    aligned: FloatArray,
    content: FloatArray,
    words: FloatArray,
) -> FloatArray:
    """Weights (2,) of the context's cosine and of the words' cosine for one task.

    Args:
        asked: its requests, the same ones at every call.
        aligned: (N, C) aligned unit vectors of the items, for the context.
        content: (N, C) unit vectors of the items as they were encoded, for words.
        words: (Q, C) unit vectors of the written queries; Q = 0 where the task has none.
    """
    text = 0.0
    if len(words):
        text = _largest(
            asked, lambda batch: (words_cosines(batch, words, content), 0.0), _WORD_WEIGHTS
        )
    context = _largest(
        asked,
        lambda batch: (
            context_cosines(batch, aligned),
            text * words_cosines(batch, words, content) if text else 0.0,
        ),
        _CONTEXT_WEIGHTS,
    )
    return np.array([context, text], np.float32)


def _largest(
    asked: Callable[[], Iterable[ValidationRequests]],
    cosines: Callable[[TrainingBatch], tuple[FloatArray, FloatArray | float]],
    weights: Sequence[float],
) -> float:
    """The largest weight of the first cosines, beside what else is added, that is good enough."""
    gains = dict.fromkeys(weights, 0.0)
    for one in asked():
        weighed, others = cosines(one.batch)
        for weight in gains:
            gains[weight] += one.gain(np.float32(weight) * weighed + others)
    enough = _ABOUT_AS_WELL * max(gains.values())
    # Where nothing was asked, or nothing found, content is all that is known.
    return max(weight for weight, gain in gains.items() if gain >= enough)


def shown(batch: TrainingBatch) -> BoolArray:
    """(R, T) which steps of its row a request with a target sees."""
    steps: BoolArray = (batch.places[:, None, :] < batch.prefix[:, :, None])[batch.target >= 0]
    return steps


def context_cosines(batch: TrainingBatch, vectors: FloatArray) -> FloatArray:
    """(R, N) of the context's mean aligned content, as ``ContentScores`` weighs it, to items.

    The context is the source where a request names nothing else, as in ``context_weights``.
    """
    row, request = np.nonzero(batch.target >= 0)
    age = batch.prefix[row, request][:, None] - 1 - batch.places[row]
    weights = np.where(shown(batch), DECAY ** np.maximum(age, 0), 0.0)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    means = np.einsum("rt,rtc->rc", weights.astype(np.float32), vectors[batch.items[row]])
    source = batch.source[row, request]
    alone = (batch.task[row, request] == SIMILAR) & (source != NONE)
    means[alone] = vectors[source[alone]]
    return np.asarray(means @ vectors.T, np.float32)


def words_cosines(batch: TrainingBatch, words: FloatArray, vectors: FloatArray) -> FloatArray:
    """(R, N) of what was typed to items; zeros for requests without words."""
    query = batch.query[batch.target >= 0]
    typed = np.where((query != NONE)[:, None], words[np.maximum(query, 0)], np.float32(0))
    return np.asarray(typed @ vectors.T, np.float32)
