"""The torch half of the ranker: a deep-and-cross network (DCN-v2), for training only.

Shapes: R rows, F features, A actions, W width of the input (2 F and the task's embedding).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.models.ranker import RankerConfig

_FARTHEST = 6.0
"""Standardised values beyond this are cut: one odd row must not carry a candidate away."""

_LARGEST = 1e30
"""Infinite values become this, so that a scale of 0 still silences them."""


class RankerNetwork(nn.Module):
    """Logits of actions from raw features, NaN included, and the task."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: FloatArray, config: RankerConfig) -> None:
        super().__init__()
        mean, scale = standardisation(features)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.tasks = nn.Parameter(torch.randn(config.num_tasks, config.task_size) * 0.5)
        width = 2 * features.shape[1] + config.task_size
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(config.num_cross))
        sizes = [width, *[config.hidden_size] * config.num_hidden]
        self.deep = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.out = nn.Linear(width + config.hidden_size, len(config.actions))

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Logits (R, A) of features (R, F) and tasks (R,)."""
        missing = torch.isnan(features)
        known = torch.where(missing, self.mean, features).clamp(-_LARGEST, _LARGEST)
        known = ((known - self.mean) * self.scale).clamp(-_FARTHEST, _FARTHEST)
        first = torch.cat([known, missing.float(), functional.embedding(task, self.tasks)], 1)
        crossed = first
        for layer in self.cross:
            crossed = first * layer(crossed) + crossed
        deep = first
        for layer in self.deep:
            deep = functional.relu(layer(deep))
        logits: Tensor = self.out(torch.cat([crossed, deep], 1))
        return logits


class ServedRanker(nn.Module):
    """The network as it is exported: probabilities instead of logits."""

    def __init__(self, network: RankerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Probabilities (R, A)."""
        return torch.sigmoid(self.network(features, task))


def standardisation(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (F,) and 1 / standard deviation (F,) of the finite values.

    A constant gets scale 0: nothing can be learned of it, so it must not speak when it changes.
    """
    finite = np.isfinite(features)
    count = np.maximum(finite.sum(0), 1)
    mean = np.where(finite, features, 0).sum(0, dtype=np.float64) / count
    centred = np.where(finite, features - mean.astype(np.float32), 0)
    spread = np.sqrt((centred**2).sum(0, dtype=np.float64) / count)
    flat = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, spread))
    return mean.astype(np.float32), scale.astype(np.float32)
