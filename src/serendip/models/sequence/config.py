"""Config of sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.arrays import FloatArray

INPUT, OUTPUT = "history", "encoded"


class SequenceConfig(Config):
    """Sizes and training that the models of sequences share."""

    embedding_size: int = Field(default=256, ge=1)
    """D, size of item and history vectors."""

    max_len: int = Field(default=50, ge=1)
    """Most recent events of a history that are read."""

    dropout: float = Field(default=0.4, ge=0, lt=1)
    """Share of values that is dropped while training."""

    temperature: float = Field(default=0.07, gt=0)
    """tau: what is trained are cosines / tau."""

    loss: Literal["sampled-softmax", "gbce", "bce"] = "sampled-softmax"
    """What is minimised; see ``sequence_losses``."""

    num_negatives: int = Field(default=1024, ge=1)
    """Uniform negatives of a step; catalogues up to twice as large are scored whole."""

    calibration: float = Field(default=0.75, ge=0, le=1)
    """t of gBCE."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size of Adam when training starts; it falls in a straight line over ``epochs``."""

    batch_size: int = Field(default=768, ge=1)
    """Events with a successor in a step, about."""

    epochs: int = Field(default=24, ge=1)
    """Most passes over the events."""

    validate_every: int = Field(default=4, ge=1)
    """Passes between two validations."""

    patience: int = Field(default=2, ge=1)
    """Validations without a better nDCG@10 before training stops."""

    most_validated: int = Field(default=5_000, ge=0)
    """Users whose last event is held back to stop by where the dataset says none; at most a tenth
    of the users."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSequences:
    """Everything that training leaves behind.

    Args:
        graph: ONNX bytes, table rows (rows, T, D) -> history vectors (rows, D) of any length.
        table: (N, D) item embeddings, read as they are and scored as unit vectors.
        visitor: (D,) unit vector for those who have no history: the middle of all.
    """

    graph: bytes
    table: FloatArray
    visitor: FloatArray


class SASRecConfig(SequenceConfig):
    """Sizes and training of SASRec."""

    start: Literal["co-occurrence", "random"] = "co-occurrence"
    """Where item vectors are when training begins: at who is chosen beside whom, with blocks that
    add nothing yet, so that an untrained network answers with what goes with the last item; or
    anywhere."""

    block: Literal["original", "ligr"] = "original"
    """Kind of block."""

    epochs: int = Field(default=10, ge=1)
    """Most passes over the events."""

    num_layers: int = Field(default=1, ge=1)
    """Blocks."""

    num_heads: int = Field(default=1, ge=1)
    """Attention heads; must divide ``embedding_size``."""

    feed_forward: int = Field(default=1, ge=1)
    """Width of a block's inner layer, in multiples of ``embedding_size``."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_size % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} does not divide embedding_size")
        return self


class GRU4RecConfig(SequenceConfig):
    """Sizes and training of GRU4Rec; the state is as large as an item vector."""

    embedding_size: int = Field(default=128, ge=1)
    """D, size of item and history vectors."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Step size of Adam when training starts; it falls in a straight line over ``epochs``."""

    epochs: int = Field(default=20, ge=1)
    """Most passes over the events."""
