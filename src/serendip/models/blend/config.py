"""Config of blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.models.blend.features import PER_PART, PER_QUERY


class BlendPart(Config):
    """One model of the blend."""

    model: str
    """Its name in the registry."""

    config: dict[str, Any] = Field(default_factory=dict)
    """What differs from the defaults of its config."""


_DEFAULT_PARTS = {
    "popularity": BlendPart(model="popularity"),
    "item-knn": BlendPart(model="item-knn"),
    "transitions": BlendPart(model="transitions", config={"mode": "plain", "decay": 0.5}),
    "spread": BlendPart(model="transitions", config={"mode": "spread", "decay": 0.5}),
    "content": BlendPart(model="content"),
    "retriever": BlendPart(model="retriever"),
}


class BlendConfig(Config):
    """Which models, and the network above them."""

    parts: dict[str, BlendPart] = Field(default=_DEFAULT_PARTS, min_length=1)
    """The models by a name of one's own. Where no part proposes an item, the last one orders it."""

    num_candidates: int = Field(default=60, ge=1)
    """Best items taken from each part."""

    hidden_size: int = Field(default=128, ge=1)
    """H; the second hidden layer has half of it."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the first hidden layer that is dropped while training."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest step size of one cycle."""

    reg: float = Field(default=1e-3, ge=0)
    """Decoupled weight decay."""

    epochs: int = Field(default=8, ge=1)
    """Passes over the users."""

    batch_size: int = Field(default=64, ge=1)
    """Users of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class BlendNetwork:
    """The trained perceptron as plain arrays.

    Args:
        mean, scale: (F,) of the features.
        layers: weight (in, out) and bias (out,) of each layer; the last one has one output.
    """

    mean: FloatArray
    scale: FloatArray
    layers: Sequence[tuple[FloatArray, FloatArray]]

    def __call__(self, features: FloatArray) -> FloatArray:
        """Features (..., F) -> values (...)."""
        hidden = (features - self.mean) / self.scale
        for weight, bias in self.layers[:-1]:
            hidden = hidden @ weight + bias
            hidden = hidden / (1 + np.exp(-np.clip(hidden, -60, 60)))
        weight, bias = self.layers[-1]
        return np.asarray((hidden @ weight + bias)[..., 0], dtype=np.float32)


def fused_by_rank(num_parts: int) -> BlendNetwork:
    """The network that trusts every part alike: it sums the logarithms of the ranks."""
    size = num_parts * PER_PART + PER_QUERY
    weight = np.zeros((size, 1), np.float32)
    weight[PER_PART - 1 : -PER_QUERY : PER_PART] = 1.0
    layer = (weight, np.zeros(1, np.float32))
    return BlendNetwork(np.zeros(size, np.float32), np.ones(size, np.float32), [layer])
