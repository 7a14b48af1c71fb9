"""Behaviour-aligned content: a linear map that moves items chosen together closer together.

Luo et al. 2024, "QARM: Quantitative Alignment Multi-Modal Recommendation at Kuaishou"
(arXiv:2411.11739), align content with behaviour before they derive codes from it. Differences: a
low-rank linear map instead of a fine-tuned language model; pairs from neighbouring events instead
of a deployed retrieval model; the map is residual and starts at the identity, so that items without
behaviour are aligned like similar items with behaviour.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.runtime.progress import TrainOptions

RANK = 128  # R, rank of the projection, at most D
MIN_PAIRS = 100  # with fewer nothing is learned, and the projection is the identity


def align(
    content: FloatArray,
    pairs: IntArray,
    options: TrainOptions | None = None,
    most_pairs: int = 300_000,
) -> AlignedProjection:
    """Fit the projection of content from pairs of items chosen together.

    Args:
        content: (N, D) float32 unit vectors; zeros = no content.
        pairs: (P, 2) int32 item numbers, see ``data.dataset.cooccurring_pairs``; with fewer than
            ``MIN_PAIRS`` the projection is the identity.
        options: seed and progress.
        most_pairs: of more pairs as many are drawn, which bounds the time of the training.
    """
    size, rank = content.shape[1], min(RANK, content.shape[1])
    if len(pairs) < MIN_PAIRS:
        return AlignedProjection(
            np.zeros((size, rank), np.float32), np.zeros((rank, size), np.float32)
        )
    from serendip.content.behaviour_alignment_train import train

    return train(content, pairs, rank, options or TrainOptions(), most_pairs)
