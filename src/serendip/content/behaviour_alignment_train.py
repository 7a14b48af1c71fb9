"""Training of the alignment: InfoNCE over pairs, with the other pairs of a batch as negatives.

Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding" (arXiv:1807.03748);
popular items are negatives more often, which the log-Q correction takes back (Yi et al. 2019,
"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
doi:10.1145/3298689.3346996).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import limit_threads

if TYPE_CHECKING:
    from serendip.content.config import AlignmentConfig

_WEIGHT_DECAY = 0.01
_NEVER = -1e9


def train(
    content: FloatArray, pairs: IntArray, config: AlignmentConfig, options: TrainOptions
) -> AlignedProjection:
    """See ``alignment.align``; all randomness comes from the seed."""
    limit_threads()
    random = np.random.default_rng(options.seed)
    if len(pairs) > config.most_pairs:
        pairs = pairs[random.choice(len(pairs), config.most_pairs, replace=False)]
    aligner = _Aligner(content, pairs, config, options.seed)
    optimiser = torch.optim.AdamW(aligner.groups(), lr=config.learning_rate, fused=True)
    size = min(config.batch_size, len(pairs))
    steps = config.epochs * (len(pairs) // size)
    done = 0
    epochs = range(config.epochs)
    for _ in options.progress.track(epochs, "Aligning content", config.epochs):
        order = random.permutation(len(pairs))
        for begin in range(0, len(order) - size + 1, size):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * (1 - 0.9 * done / steps)
            # Being together has no direction: each pair is read from either side.
            batch = random.permuted(pairs[order[begin : begin + size]], axis=1)
            loss = aligner.loss(torch.from_numpy(batch.astype(np.int64)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            done += 1
    return aligner.projection()


class _Aligner:
    """The parameters and the loss of one batch."""

    def __init__(
        self, content: FloatArray, pairs: IntArray, config: AlignmentConfig, seed: int
    ) -> None:
        self.dropout = config.dropout
        self.content = torch.from_numpy(np.ascontiguousarray(content, dtype=np.float32))
        size = content.shape[1]
        rank = min(config.rank, size)
        self.random = torch.Generator().manual_seed(seed)
        self.down = torch.randn(size, rank, generator=self.random) / math.sqrt(size)
        self.up = torch.zeros(rank, size)
        self.scale = torch.tensor(-math.log(config.temperature))
        for parameter in (self.down, self.up, self.scale):
            parameter.requires_grad_()
        counts = np.bincount(pairs.ravel(), minlength=len(content)) / pairs.size
        self.log_share = torch.from_numpy(np.log(counts + 1e-12).astype(np.float32))

    def groups(self) -> list[dict[str, object]]:
        """Parameters for the optimiser; the temperature does not decay."""
        return [
            {"params": [self.down, self.up], "weight_decay": _WEIGHT_DECAY},
            {"params": [self.scale], "weight_decay": 0.0},
        ]

    def loss(self, pairs: Tensor) -> Tensor:
        """Mean loss of pairs (B, 2): find the right partner among those of the batch."""
        left, right = pairs[:, 0], pairs[:, 1]
        logits = self._encode(left) @ self._encode(right).T * self.scale.exp()
        logits = logits - self.log_share[right]
        # The item itself and another copy of the partner are no wrong answers.
        unfair = (right[None, :] == right[:, None]) | (right[None, :] == left[:, None])
        unfair.fill_diagonal_(False)
        return functional.cross_entropy(logits.masked_fill(unfair, _NEVER), torch.arange(len(left)))

    def _encode(self, items: Tensor) -> Tensor:
        content = self.content[items]
        keep = torch.rand(content.shape, generator=self.random) >= self.dropout
        seen = content * keep / (1 - self.dropout)
        return functional.normalize(content + (seen @ self.down) @ self.up, dim=1)

    def projection(self) -> AlignedProjection:
        """What was learned, as arrays."""
        return AlignedProjection(self.down.detach().numpy().copy(), self.up.detach().numpy().copy())
