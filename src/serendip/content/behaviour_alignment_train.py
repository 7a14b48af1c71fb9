"""Training of behaviour alignment: InfoNCE over item pairs with in-batch negatives. Torch.

InfoNCE: Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding"
(arXiv:1807.03748). Popular items are negatives more often, which the log-Q correction compensates
(Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
doi:10.1145/3298689.3346996). Difference: repetitions of the source item and of the target among the
negatives are masked.

Shapes: N items, U items of pairs, D content size, R rank of the projection, P pairs, B pairs of a
batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.runtime.optimiser import AdamW
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import limit_threads

EPOCHS, BATCH = 4, 512  # passes over the pairs, and pairs per step
LEARNING_RATE = 3e-3  # initial rate of AdamW; falls linearly to a tenth
DROPOUT = 0.4  # rate of content, against memorising single items
TEMPERATURE = 0.1  # initial one of the softmax; it is learned
_WEIGHT_DECAY = 0.01
_MASKED_LOGIT = -1e9


def train(
    content: FloatArray, pairs: IntArray, rank: int, options: TrainOptions, most_pairs: int
) -> AlignedProjection:
    """Fit the projection, see ``behaviour_alignment.align``; all randomness is from the seed."""
    limit_threads()
    random = np.random.default_rng(options.seed)
    if len(pairs) > most_pairs:
        pairs = pairs[random.choice(len(pairs), most_pairs, replace=False)]
    aligner = _Aligner(content, pairs, rank, options.seed)
    optimiser = AdamW(aligner.groups(), LEARNING_RATE)
    size = min(BATCH, len(pairs))
    steps = EPOCHS * (len(pairs) // size)
    step = 0
    for _ in options.progress.track(range(EPOCHS), "Aligning content", EPOCHS):
        order = random.permutation(len(pairs))
        for begin in range(0, len(order) - size + 1, size):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * (1 - 0.9 * step / steps)
            # Pairs are unordered: each one is used in a random direction.
            batch = random.permuted(pairs[order[begin : begin + size]], axis=1)
            loss = aligner.loss(torch.from_numpy(aligner.rows(batch)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
    return aligner.projection()


class _Aligner:
    def __init__(self, content: FloatArray, pairs: IntArray, rank: int, seed: int) -> None:
        # Only items of pairs are read: U of them, numbered in their order.
        self.items = np.unique(pairs)  # (U,)
        self.content = torch.from_numpy(np.asarray(content[self.items], np.float32))  # (U, D)
        size = content.shape[1]
        self.random = torch.Generator().manual_seed(seed)
        self.down = torch.randn(size, rank, generator=self.random) / math.sqrt(size)  # (D, R)
        self.up = torch.zeros(rank, size)  # (R, D); zeros: the map starts at the identity
        self.scale = torch.tensor(-math.log(TEMPERATURE))  # log of 1 / temperature
        for parameter in (self.down, self.up, self.scale):
            parameter.requires_grad_()
        shares = np.bincount(self.rows(pairs).ravel()) / pairs.size  # (U,)
        self.log_share = torch.from_numpy(np.log(shares + 1e-12).astype(np.float32))  # log Q

    def rows(self, pairs: IntArray) -> NDArray[np.int64]:
        return np.searchsorted(self.items, pairs)  # (B, 2)

    def groups(self) -> list[dict[str, object]]:
        return [
            {"params": [self.down, self.up], "weight_decay": _WEIGHT_DECAY},
            {"params": [self.scale], "weight_decay": 0.0},
        ]

    def loss(self, pairs: Tensor) -> Tensor:
        # The right items are the classes.
        left, right = pairs[:, 0], pairs[:, 1]  # (B,) each
        logits = self._encode(left) @ self._encode(right).T * self.scale.exp()  # (B, B)
        logits = logits - self.log_share[right]
        # The left item and repetitions of the right one are not negatives.
        masked = (right[None, :] == right[:, None]) | (right[None, :] == left[:, None])  # (B, B)
        masked.fill_diagonal_(False)
        logits = logits.masked_fill(masked, _MASKED_LOGIT)
        return functional.cross_entropy(logits, torch.arange(len(left)))

    def _encode(self, items: Tensor) -> Tensor:
        content = self.content[items]  # (B, D)
        keep = torch.rand(content.shape, generator=self.random) >= DROPOUT
        visible = content * keep / (1 - DROPOUT)
        return functional.normalize(content + (visible @ self.down) @ self.up, dim=1)

    def projection(self) -> AlignedProjection:
        return AlignedProjection(self.down.detach().numpy().copy(), self.up.detach().numpy().copy())
