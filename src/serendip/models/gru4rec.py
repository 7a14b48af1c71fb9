"""GRU4Rec: what comes next by a recurrent network over the history (Hidasi et al., 2016).

Here, other than there: histories are packed instead of run in parallel lanes (the same steps and
the same state of zero at each start, but gradients reach back to the start of a history, not one
step); sampled softmax with uniform negatives instead of BPR-max or TOP1-max with items of the same
step; the item table is tied with the output.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from serendip.config import Config
from serendip.data.dataset import Dataset
from serendip.models.sequence_batches import Sequences
from serendip.models.sequence_model import SequenceConfig, SequenceRecommender, TrainedSequences
from serendip.scale.options import TrainOptions


class GRU4RecConfig(SequenceConfig):
    """Sizes and training of GRU4Rec; the state is as large as an item vector."""

    embedding_size: int = Field(default=128, ge=1)
    """D, size of item and history vectors."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Step size of Adam when training starts; it falls in a straight line over ``epochs``."""

    epochs: int = Field(default=20, ge=1)
    """Most passes over the events."""


class GRU4Rec(SequenceRecommender):
    """A gated recurrent unit over the most recent events."""

    name: ClassVar[str] = "gru4rec"
    config_class: ClassVar[type[Config]] = GRU4RecConfig
    config: GRU4RecConfig

    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences:
        from serendip.models.gru4rec_network import GRU4RecNetwork
        from serendip.models.sequence_training import train_sequences

        def network(past: Sequences) -> GRU4RecNetwork:
            return GRU4RecNetwork(dataset.num_items, self.config)

        return train_sequences(network, dataset, self.config, options)
