"""Behaviour-aligned content: a linear map that moves items chosen together closer together.

Luo et al. 2024, "QARM: Quantitative Alignment Multi-Modal Recommendation at Kuaishou"
(arXiv:2411.11739), align content with behaviour before they derive codes from it. Differences: a
small linear map instead of a tuned language model, pairs from neighbouring events instead of a
deployed retrieval model, and a residual start at the content itself, so that items without
behaviour are aligned like similar items with behaviour.
"""

from __future__ import annotations

import numpy as np

from serendip.content.config import AlignmentConfig
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.errors import DataError
from serendip.runtime.progress import TrainOptions

MIN_PAIRS = 100
"""Fewer pairs say nothing about content; it stays as it is."""


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
    from serendip.content.behaviour_alignment_train import train

    return train(content, pairs, config, options)
