"""Config of ranker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.errors import DataError


class RankerConfig(Config):
    """Sizes and training of the ranker."""

    actions: tuple[str, ...] = Field(default=("interact", "like"), min_length=1)
    """What is predicted: ``interact`` (any interest), ``like`` (any like), or an action of the log
    by its name."""

    num_tasks: int = Field(default=3, ge=1)
    """Tasks are numbered 0 .. num_tasks - 1."""

    task_size: int = Field(default=8, ge=1)
    """Size of a task's embedding."""

    num_cross: int = Field(default=2, ge=0)
    """Cross layers: each multiplies every input with a learned mix of all."""

    hidden_size: int = Field(default=64, ge=1)
    """Width of the deep half."""

    num_hidden: int = Field(default=2, ge=1)
    """Layers of the deep half."""

    listwise_weight: float = Field(default=0.2, ge=0)
    """Weight of the softmax loss among the candidates of one query, beside cross-entropy. More
    may help the order and draws the probabilities towards the middle."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest step size; it falls to a tenth over the epochs."""

    reg: float = Field(default=1e-3, ge=0)
    """Decoupled weight decay."""

    epochs: int = Field(default=6, ge=1)
    """Most passes over the rows."""

    patience: int = Field(default=2, ge=1)
    """Passes without a better validation before training stops."""

    batch_size: int = Field(default=2048, ge=1)
    """Rows of a step, in whole queries."""

    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the queries that decides when to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class RankerRows:
    """Candidates whose outcome is known.

    Args:
        features: (R, F) float32, NaN = does not apply.
        task: (R,) int, 0 .. num_tasks - 1.
        labels: (R, A) float, 0 or 1 per action.
        weights: (R,) float, how much a row counts.
        group: (R,) int, rows of one query share a number.

    Raises:
        DataError: lengths differ.
    """

    features: FloatArray
    task: NDArray[np.integer]
    labels: FloatArray
    weights: FloatArray
    group: NDArray[np.integer]

    def __post_init__(self) -> None:
        for name in ("task", "labels", "weights", "group"):
            if len(getattr(self, name)) != len(self):
                raise DataError(f"{name} has {len(getattr(self, name))} of {len(self)} rows.")

    def __len__(self) -> int:
        return len(self.features)
