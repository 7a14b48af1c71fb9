"""The torch half of SASRec: causal self-attention over packed histories, for training only.

All that treats events alone runs over the line of a batch; attention runs block by block over
sequences of equal length, which are views of the line: no padding, no mask but the causal one.

Shapes: T events of a batch in one line, D embedding size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.models.onnx import to_onnx
from serendip.models.sasrec import SASRecConfig
from serendip.models.sequence_model import INPUT, OUTPUT
from serendip.models.sequence_network import Blocks, SequenceNetwork

_SPREAD, _QUIET = 0.02, 0.1


class CausalAttention(nn.Module):
    """Each event attends to itself and to what is before it in its sequence."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.heads = config.num_heads
        self.inner, self.outer = nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, line: Tensor, blocks: Blocks) -> Tensor:
        """(T, D) -> (T, D)."""
        size = line.shape[1]
        projected, parts = self.inner(line), []
        for first, rows, length in blocks:
            part = projected[first : first + rows * length]
            shape = (rows, length, 3, self.heads, size // self.heads)
            query, key, value = part.reshape(shape).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            parts.append(mixed.transpose(1, 2).reshape(rows * length, size))
        result: Tensor = self.outer(torch.cat(parts))
        return result


class OriginalBlock(nn.Module):
    """Attention, then two linear layers, each added to what came in (pre-norm)."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        size, wide = config.embedding_size, config.feed_forward * config.embedding_size
        self.first_norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = CausalAttention(config)
        self.up, self.down = nn.Linear(size, wide), nn.Linear(wide, size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, line: Tensor, blocks: Blocks) -> Tensor:
        """(T, D) -> (T, D)."""
        line = line + self.dropout(self.attention(self.first_norm(line), blocks))
        hidden = self.dropout(functional.relu(self.up(self.second_norm(line))))
        result: Tensor = line + self.dropout(self.down(hidden))
        return result


class GatedBlock(nn.Module):
    """LiGR: both branches pass a sigmoid gate of what came in; the second is a SwiGLU."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        size, wide = config.embedding_size, config.feed_forward * config.embedding_size
        self.first_norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.first_gate, self.second_gate = nn.Linear(size, size), nn.Linear(size, size)
        self.attention = CausalAttention(config)
        self.up, self.down = nn.Linear(size, 2 * wide, False), nn.Linear(wide, size, False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, line: Tensor, blocks: Blocks) -> Tensor:
        """(T, D) -> (T, D)."""
        branch = self.dropout(self.attention(self.first_norm(line), blocks))
        line = line + torch.sigmoid(self.first_gate(line)) * branch
        gate, value = self.up(self.second_norm(line)).chunk(2, 1)
        branch = self.dropout(self.down(functional.silu(gate) * value))
        result: Tensor = line + torch.sigmoid(self.second_gate(line)) * branch
        return result


class SASRecNetwork(SequenceNetwork):
    """Item and age embeddings, causal blocks, a closing layer norm.

    Positions are counted from the last event of a sequence back, so that the most recent one is
    the same to the network in short and long histories.
    """

    def __init__(self, num_items: int, config: SASRecConfig) -> None:
        super().__init__(num_items, config)
        block = OriginalBlock if config.block == "original" else GatedBlock
        self.ages = nn.Parameter(torch.randn(config.max_len, config.embedding_size) * _SPREAD)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    @torch.no_grad()
    def start_at(self, vectors: FloatArray) -> None:
        """Begin at unit item vectors (N, D), blocks silent; rows of zeros stay random."""
        known = torch.from_numpy(np.abs(vectors).max(1) > 0)
        size = _SPREAD * vectors.shape[1] ** 0.5
        self.items[known] = torch.from_numpy(vectors)[known] * size
        self.ages.mul_(_QUIET)
        for block in self.blocks:
            assert isinstance(block, OriginalBlock | GatedBlock)
            for layer in (block.attention.outer, block.down):
                for parameter in layer.parameters():
                    parameter.zero_()

    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Item vectors (T, D) -> vectors (T, D)."""
        line = line + functional.embedding(_ages_in(blocks), self.ages)
        line = functional.dropout(line, self.dropout, self.training)
        for block in self.blocks:
            line = block(line, blocks)
        result: Tensor = self.norm(line)
        return result

    def graph(self) -> bytes:
        """ONNX of one block of equally long histories."""
        size = self.items.shape[1]
        axes = [{0: "rows", 1: "steps"}]
        return to_onnx(_LastVectors(self), [torch.zeros(2, 3, size)], [INPUT], [OUTPUT], axes)


class _LastVectors(nn.Module):
    """Item vectors (rows, steps, D) -> vectors (rows, D) after the last step."""

    def __init__(self, network: SASRecNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, history: Tensor) -> Tensor:
        rows, steps, size = history.shape
        line = self.network.read(history.reshape(-1, size), [(0, rows, steps)])
        return line.reshape(rows, steps, size)[:, -1]


def _ages_in(blocks: Blocks) -> Tensor:
    """(T,) int64 how many events of its sequence come after each event."""
    return torch.cat([torch.arange(length).flip(0).repeat(rows) for _, rows, length in blocks])
