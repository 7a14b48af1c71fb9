"""Networks of SASRec and GRU4Rec over packed histories, and their ONNX export. Torch, training.

SASRec (Kang and McAuley, 2018): layers that treat events separately run over the whole line of a
batch; attention runs block by block over sequences of equal length, which are views of the line, so
there is no padding and no mask but the causal one. GRU4Rec (Hidasi et al., 2016): one gated
recurrent unit over packed histories.

Shapes: N items, U items to score, D embedding size, T events of a batch in one line, R sequences of
a block, L their length, H heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from serendip.data import FloatArray
from serendip.models.onnx import to_onnx
from serendip.models.sequence.config import (
    INPUT,
    OUTPUT,
    GRU4RecConfig,
    SASRecConfig,
    SequenceConfig,
)

Blocks = Sequence[tuple[int, int, int]]
"""(first event, sequences, length) of each run of equally long sequences in a line."""


class SequenceNetwork(nn.Module, ABC):
    """Sequence encoder with one item table, tied between input and output."""

    def __init__(self, num_items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.dropout, self.temperature = config.dropout, config.temperature
        self.items = nn.Parameter(torch.randn(num_items, config.embedding_size) * 0.02)

    def forward(self, items: Tensor, blocks: Blocks) -> Tensor:
        """Encode every prefix of every sequence: vectors (T, D) of length 1 / temperature."""
        encoded = self.read(functional.embedding(items, self.items), blocks)  # (T, D)
        return functional.normalize(encoded, dim=1) / self.temperature

    def vectors(self, items: Tensor) -> Tensor:
        """Output vectors (U, D) of items (U,), of length 1."""
        return functional.normalize(functional.embedding(items, self.items), dim=1)

    @abstractmethod
    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Encode item embeddings (T, D) -> vectors (T, D) of any norm."""

    @abstractmethod
    def last(self, history: Tensor) -> Tensor:
        """Encode equally long histories: item embeddings (R, L, D) -> (R, D) of the last step."""

    def graph(self) -> bytes:
        """Export ``last`` to ONNX."""
        example = [torch.zeros(2, 3, self.items.shape[1])]
        return to_onnx(_Last(self), example, [INPUT], [OUTPUT], [{0: "rows", 1: "steps"}])


class _Last(nn.Module):
    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, history: Tensor) -> Tensor:
        """(R, L, D) -> (R, D)."""
        return self.network.last(history)


def places_in(blocks: Blocks) -> Tensor:
    """(T,) int64 position of each event in its sequence, from 0."""
    return torch.cat([torch.arange(length).repeat(rows) for _, rows, length in blocks])


_SPREAD, _QUIET = 0.02, 0.1
"""Standard deviation of random embeddings; factor on position embeddings with a spectral start."""


class CausalAttention(nn.Module):
    """Multi-head causal self-attention within each sequence."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.heads = config.num_heads
        self.inner, self.outer = nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, line: Tensor, blocks: Blocks) -> Tensor:
        """(T, D) -> (T, D)."""
        size = line.shape[1]
        projected, parts = self.inner(line), []  # (T, 3 D)
        for first, rows, length in blocks:
            part = projected[first : first + rows * length]  # (R * L, 3 D)
            shape = (rows, length, 3, self.heads, size // self.heads)
            heads = part.reshape(shape).permute(2, 0, 3, 1, 4)  # (3, R, H, L, D / H)
            query, key, value = heads.unbind(0)
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            parts.append(mixed.transpose(1, 2).reshape(rows * length, size))
        result: Tensor = self.outer(torch.cat(parts))
        return result


class TransformerBlock(nn.Module):
    """Transformer block (pre-norm): attention, then a ReLU feed-forward layer, both residual."""

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
        hidden = self.dropout(functional.relu(self.up(self.second_norm(line))))  # (T, wide)
        result: Tensor = line + self.dropout(self.down(hidden))
        return result


class SASRecNetwork(SequenceNetwork):
    """SASRec: item and position embeddings, causal transformer blocks, final layer norm.

    Positions count back from the last event of a sequence, so that the most recent event has the
    same position in short and long histories.
    """

    def __init__(self, num_items: int, config: SASRecConfig) -> None:
        super().__init__(num_items, config)
        self.ages = nn.Parameter(torch.randn(config.max_len, config.embedding_size) * _SPREAD)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    @torch.no_grad()
    def start_at(self, vectors: FloatArray) -> None:
        """Initialise item embeddings with unit vectors (N, D), and blocks as the identity.

        Items with a row of zeros keep their random embedding.
        """
        has_vector = torch.from_numpy(np.abs(vectors).max(1) > 0)  # (N,)
        # The norm that random embeddings have on average.
        size = _SPREAD * vectors.shape[1] ** 0.5
        self.items[has_vector] = torch.from_numpy(vectors)[has_vector] * size
        self.ages.mul_(_QUIET)
        # With zeros in the last layer of both branches a block returns its input.
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            for layer in (block.attention.outer, block.down):
                for parameter in layer.parameters():
                    parameter.zero_()

    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Encode item embeddings (T, D) -> vectors (T, D)."""
        line = line + functional.embedding(_ages_in(blocks), self.ages)
        line = functional.dropout(line, self.dropout, self.training)
        for block in self.blocks:
            line = block(line, blocks)
        result: Tensor = self.norm(line)
        return result

    def last(self, history: Tensor) -> Tensor:
        """See ``SequenceNetwork.last``."""
        rows, steps, size = history.shape
        line = self.read(history.reshape(-1, size), [(0, rows, steps)])
        return line.reshape(rows, steps, size)[:, -1]


def _ages_in(blocks: Blocks) -> Tensor:
    """(T,) int64 position of each event, counted back from the last of its sequence (0)."""
    return torch.cat([torch.arange(length).flip(0).repeat(rows) for _, rows, length in blocks])


class GRU4RecNetwork(SequenceNetwork):
    """GRU4Rec: item embeddings, one gated recurrent unit, a linear layer."""

    def __init__(self, num_items: int, config: GRU4RecConfig) -> None:
        super().__init__(num_items, config)
        size = config.embedding_size
        self.unit, self.out = nn.GRU(size, size), nn.Linear(size, size)

    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Encode item embeddings (T, D) -> vectors (T, D)."""
        line = functional.dropout(line, self.dropout, self.training)
        # PackedSequence wants step by step, longest sequence first; the line has the longest last.
        positions = places_in(blocks)  # (T,)
        order = torch.argsort(positions.flip(0), stable=True)
        steps = PackedSequence(line.flip(0)[order], torch.bincount(positions))
        states = torch.empty_like(line).index_copy(0, order, self.unit(steps)[0].data).flip(0)
        result: Tensor = self.out(functional.dropout(states, self.dropout, self.training))
        return result

    def last(self, history: Tensor) -> Tensor:
        """See ``SequenceNetwork.last``."""
        rows, _, size = history.shape
        begin = history.new_zeros(1, rows, size)
        # The module itself compares sizes, which cannot be traced.
        weights: list[Tensor] = [*self.unit.parameters()]
        settings = True, 1, 0.0, False, False, False
        states = torch.gru(history.transpose(0, 1), begin, weights, *settings)[0]  # (L, R, D)
        vectors: Tensor = self.out(states[-1])
        return vectors
