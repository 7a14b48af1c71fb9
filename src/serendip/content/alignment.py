"""Behaviour-aligned content: vectors of items that are chosen together move towards each other.

Luo et al. 2024, "QARM: Quantitative Alignment Multi-Modal Recommendation at Kuaishou"
(arXiv:2411.11739) align content with behaviour before they make codes of it. Here: a small linear
map instead of a tuned language model, pairs from neighbouring events instead of a deployed
retrieval model, and a residual start at the content itself, so that the alignment of items without
behaviour is that of content like theirs.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.alignment import AlignedProjection
from serendip.data.arrays import FloatArray, IntArray
from serendip.errors import DataError
from serendip.scale.options import TrainOptions

MIN_PAIRS = 100
"""Fewer pairs say nothing about content; it stays as it is."""


class AlignmentConfig(Config):
    """How content vectors are moved."""

    rank: int = Field(default=128, ge=1)
    """R: directions in which vectors move; never more than D."""

    epochs: int = Field(default=4, ge=1)
    """Passes over the pairs."""

    most_pairs: int = Field(default=300_000, ge=1)
    """More pairs than this are sampled, so that training time has a limit."""

    batch_size: int = Field(default=512, ge=2)
    """Pairs per step; the others of a batch are the negatives."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Of AdamW, falling linearly to a tenth."""

    dropout: float = Field(default=0.4, ge=0, lt=1)
    """Share of content left out at random, so that no single item is learned by heart."""

    temperature: float = Field(default=0.1, gt=0)
    """Of the softmax at the start; it is learned."""


def align(
    content: FloatArray,
    pairs: IntArray,
    config: AlignmentConfig | None = None,
    options: TrainOptions | None = None,
) -> AlignedProjection:
    """Learn the projection of content from pairs of items chosen together.

    Args:
        content: (N, D) float32 unit vectors, zero where an item has none.
        pairs: (P, 2) int32 item numbers, see ``data.alignment.cooccurring_pairs``; with fewer than
            100 content stays as it is.
        config: how.
        options: seed and progress.

    Raises:
        DataError: a pair names no row of ``content``.
    """
    config, options = config or AlignmentConfig(), options or TrainOptions()
    size, rank = content.shape[1], min(config.rank, content.shape[1])
    if len(pairs) and not (0 <= pairs.min() and pairs.max() < len(content)):
        raise DataError(f"pairs name items outside of the {len(content)} with content.")
    if len(pairs) < MIN_PAIRS:
        return AlignedProjection(
            np.zeros((size, rank), np.float32), np.zeros((rank, size), np.float32)
        )
    from serendip.content.alignment_training import train

    return train(content, pairs, config, options)
