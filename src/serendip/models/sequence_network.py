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
        self.dropout, self.temperature = config.dropout, config.temperature
        self.items = nn.Parameter(torch.randn(num_items, config.embedding_size) * 0.02)

    def forward(self, items: Tensor, blocks: Blocks) -> Tensor:
        """Vectors (T, D) of each sequence up to each of its events, of length 1 / temperature.

        Args:
            items: (T,) int64.
            blocks: where the sequences stand.
        """
        read = self.read(functional.embedding(items, self.items), blocks)
        return functional.normalize(read, dim=1) / self.temperature

    def vectors(self, items: Tensor) -> Tensor:
        """Unit vectors (U, D) that items (U,) are scored by."""
        return functional.normalize(functional.embedding(items, self.items), dim=1)

    @abstractmethod
    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """From table rows (T, D) to vectors (T, D) of any length."""

    @abstractmethod
    def graph(self) -> bytes:
        """ONNX of ``read``: rows (rows, steps, D) -> vectors (rows, D) after the last step."""


def places_in(blocks: Blocks) -> Tensor:
    """(T,) int64 place of each event in its sequence, from 0."""
    return torch.cat([torch.arange(length).repeat(rows) for _, rows, length in blocks])
