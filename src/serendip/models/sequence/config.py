"""Hyperparameters of the sequential recommenders SASRec and GRU4Rec, and their training result.

Shapes: N items, T history steps, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data import Artefact, FloatArray

INPUT, OUTPUT = "history", "encoded"
"""Names of the exported graph's input and output."""


class SequenceConfig(Config):
    """Architecture and training common to all sequential models."""

    embedding_size: int = Field(default=256, ge=1)
    """D: dimensions of item and history vectors."""

    max_len: int = Field(default=50, ge=1)
    """Events of a history that are read, the most recent ones."""

    dropout: float = Field(default=0.4, ge=0, lt=1)
    """Dropout rate in training."""

    temperature: float = Field(default=0.07, gt=0)
    """Softmax temperature tau: logits are cosines / tau. Lower = sharper softmax."""

    num_negatives: int = Field(default=1024, ge=1)
    """Uniform negatives per training step. Catalogues of at most twice as many items are scored
    whole. More = closer to the full softmax, and slower."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Initial learning rate of Adam; it decays linearly over ``epochs``, down to 2 % of it."""

    batch_size: int = Field(default=768, ge=1)
    """Training targets (events with a successor) per step, about."""

    epochs: int = Field(default=24, ge=1)
    """Maximum number of epochs, passes over the training events."""

    validate_every: int = Field(default=4, ge=1)
    """Epochs between two validations."""

    patience: int = Field(default=2, ge=1)
    """Validations without a better nDCG@10 before training stops."""

    most_validated: int = Field(default=5_000, ge=0)
    """Users whose last event is held out for early stopping if the dataset has no validation
    targets; at most a tenth of the users with 3 or more events."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSequences(Artefact):
    """Result of training a sequential model.

    Args:
        graph: ONNX bytes: item embeddings (rows, T, D) -> history vectors (rows, D) of any norm.
        table: (N, D) item embeddings: input as they are, scored as unit vectors.
        visitor: (D,) unit vector for an empty history: the mean of all history vectors.
    """

    graph: bytes
    table: FloatArray
    visitor: FloatArray


class SASRecConfig(SequenceConfig):
    """Architecture and training of SASRec."""

    epochs: int = Field(default=10, ge=1)
    """Maximum number of epochs, passes over the training events."""

    num_layers: int = Field(default=1, ge=1)
    """Transformer blocks."""

    num_heads: int = Field(default=1, ge=1)
    """Attention heads; must divide ``embedding_size``."""

    feed_forward: int = Field(default=1, ge=1)
    """Width of a block's feed-forward layer, in multiples of ``embedding_size``."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_size % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} does not divide embedding_size")
        return self


class GRU4RecConfig(SequenceConfig):
    """Architecture and training of GRU4Rec; the recurrent state has the size of an item vector."""

    embedding_size: int = Field(default=128, ge=1)
    """D: dimensions of item and history vectors."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Initial learning rate of Adam; it decays linearly over ``epochs``, down to 2 % of it."""

    epochs: int = Field(default=20, ge=1)
    """Maximum number of epochs, passes over the training events."""
