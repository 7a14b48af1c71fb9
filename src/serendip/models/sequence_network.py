"""What a network over item sequences has to offer to be trained and exported. Torch, training only.

Shapes: N items, D embedding size, T events of a batch in one line, B sequences.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.models.sequence_model import SequenceConfig

Blocks = Sequence[tuple[int, int, int]]
"""(first event, sequences, length) of each run of equally long sequences in a line."""


class SequenceNetwork(nn.Module, ABC):
    """One table of items, for what is read and for what is scored."""

    def __init__(self, num_items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.items = nn.Parameter(torch.randn(num_items, config.embedding_size) * 0.02)

    def forward(self, items: Tensor, places: Tensor, blocks: Blocks) -> Tensor:
        """Vectors (T, D) of each sequence up to each of its events.

        Args:
            items: (T,) int64.
            places: (T,) int64 place of each event in its sequence.
            blocks: where the sequences stand.
        """
        return self.read(functional.embedding(items, self.items), places, blocks)

    @abstractmethod
    def read(self, line: Tensor, places: Tensor, blocks: Blocks) -> Tensor:
        """As ``forward``, from item vectors (T, D)."""

    @abstractmethod
    def graph(self) -> bytes:
        """ONNX: item vectors (rows, steps, D) -> vectors (rows, D) after the last step."""
