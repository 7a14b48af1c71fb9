"""Hyperparameters of the blend, and its network as plain arrays (numpy, served)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.artefact import Artefact
from serendip_bench.blend.features import PER_PART, PER_QUERY


class BlendPart(Config):
    """One model of the blend: registry name and hyperparameters."""

    model: str
    """Name of the model in the registry."""

    config: dict[str, Any] = Field(default_factory=dict)
    """Hyperparameters that differ from the model's defaults."""


_DEFAULT_PARTS = {
    "popularity": BlendPart(model="popularity"),
    "item-knn": BlendPart(model="item-knn"),
    "transitions": BlendPart(model="transitions", config={"mode": "plain", "decay": 0.5}),
    "spread": BlendPart(model="transitions", config={"mode": "spread", "decay": 0.5}),
    "content": BlendPart(model="content"),
    "retriever": BlendPart(model="retriever"),
}


class BlendConfig(Config):
    """Models of the blend, and hyperparameters of the network that combines them."""

    parts: dict[str, BlendPart] = Field(default=_DEFAULT_PARTS, min_length=1)
    """Name -> model; names are free. Items that no part proposes are ordered by the last part."""

    num_candidates: int = Field(default=60, ge=1)
    """Candidates per part: its items with the highest scores."""

    hidden_size: int = Field(default=128, ge=1)
    """H, width of the first hidden layer; the second one has H / 2."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout rate of the first hidden layer."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Maximum learning rate of the one-cycle schedule."""

    reg: float = Field(default=1e-3, ge=0)
    """Decoupled weight decay (AdamW)."""

    epochs: int = Field(default=8, ge=1)
    """Passes over the requests."""

    batch_size: int = Field(default=64, ge=1)
    """Requests per step."""


@dataclass(frozen=True, slots=True, eq=False)
class BlendNetwork(Artefact):
    """Multi-layer perceptron with SiLU activations, as plain arrays.

    Args:
        mean, scale: (F,) standardisation of the features.
        layers: weight (in, out) and bias (out,) of each layer; the last one has one output.
    """

    mean: FloatArray
    scale: FloatArray
    layers: Sequence[tuple[FloatArray, FloatArray]]

    def __call__(self, features: FloatArray) -> FloatArray:
        """Features (..., F) -> scores (...)."""
        hidden = (features - self.mean) / self.scale  # (..., F)
        for weight, bias in self.layers[:-1]:
            hidden = hidden @ weight + bias  # (..., out)
            hidden = hidden / (1 + np.exp(-np.clip(hidden, -60, 60)))  # SiLU; exp cannot overflow
        weight, bias = self.layers[-1]
        return np.asarray((hidden @ weight + bias)[..., 0], dtype=np.float32)


def build_rank_fusion(num_parts: int) -> BlendNetwork:
    """Build the network that sums the parts' log-rank features, all with the same weight."""
    size = num_parts * PER_PART + PER_QUERY  # F
    weight = np.zeros((size, 1), np.float32)
    weight[PER_PART - 1 : -PER_QUERY : PER_PART] = 1.0  # the last feature of each part
    layer = (weight, np.zeros(1, np.float32))
    return BlendNetwork(np.zeros(size, np.float32), np.ones(size, np.float32), [layer])
