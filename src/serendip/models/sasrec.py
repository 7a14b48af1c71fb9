"""SASRec: what comes next by causal self-attention over the history (Kang and McAuley, 2018).

Here, other than there: sampled softmax instead of one negative per event (the loss, not the
architecture, held it back: Klenitskiy and Vasilev, 2023), negatives shared by a step, pre-norm
blocks whose feed-forward part may be wider, optionally gated blocks (LiGR), and item vectors that
begin at the eigenvectors of co-occurrence instead of anywhere.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.dataset import Dataset
from serendip.models.cooccurrence import cooccurrence_vectors
from serendip.models.sequence_batches import Sequences
from serendip.models.sequence_model import SequenceConfig, SequenceRecommender, TrainedSequences
from serendip.scale.options import TrainOptions


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


class SASRec(SequenceRecommender):
    """Self-attention over the most recent events."""

    name: ClassVar[str] = "sasrec"
    config_class: ClassVar[type[Config]] = SASRecConfig
    config: SASRecConfig

    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences:
        from serendip.models.sasrec_network import SASRecNetwork
        from serendip.models.sequence_training import train_sequences

        def network(past: Sequences) -> SASRecNetwork:
            made = SASRecNetwork(dataset.num_items, self.config)
            if self.config.start == "co-occurrence":
                size = self.config.embedding_size
                made.start_at(cooccurrence_vectors(past, dataset.num_items, size))
            return made

        return train_sequences(network, dataset, self.config, options)
