"""Networks of SASRec and GRU4Rec over packed histories, and their ONNX export. Torch, training.

``SequenceNetwork`` is what ``train.py`` needs of a network: encode packed histories, give the item
vectors that are scored, export itself.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from serendip.data.arrays import FloatArray
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
        """Encode every prefix of every sequence: vectors (T, D) of length 1 / temperature.

        Args:
            items: (T,) int64.
            blocks: position of the sequences in the line.
        """
        encoded = self.read(functional.embedding(items, self.items), blocks)  # (T, D)
        return functional.normalize(encoded, dim=1) / self.temperature

    def vectors(self, items: Tensor) -> Tensor:
        """Output vectors (U, D) of items (U,), of length 1."""
        return functional.normalize(functional.embedding(items, self.items), dim=1)

    @abstractmethod
    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Encode item embeddings (T, D) -> vectors (T, D) of any norm."""

    @abstractmethod
    def graph(self) -> bytes:
        """Export ``read`` to ONNX: item embeddings (R, L, D) -> vectors (R, D) of the last step."""


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

    def graph(self) -> bytes:
        """Export to ONNX, for one block of equally long histories."""
        size = self.items.shape[1]
        axes = [{0: "rows", 1: "steps"}]
        return to_onnx(_LastVectors(self), [torch.zeros(2, 3, size)], [INPUT], [OUTPUT], axes)


class _LastVectors(nn.Module):
    """Wrapper for the export: item embeddings (R, L, D) -> vectors (R, D) of the last step."""

    def __init__(self, network: SASRecNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, history: Tensor) -> Tensor:
        rows, steps, size = history.shape
        line = self.network.read(history.reshape(-1, size), [(0, rows, steps)])
        return line.reshape(rows, steps, size)[:, -1]


def _ages_in(blocks: Blocks) -> Tensor:
    """(T,) int64 position of each event, counted back from the last of its sequence (0)."""
    return torch.cat([torch.arange(length).flip(0).repeat(rows) for _, rows, length in blocks])


_ONNX_OPSET, _ONNX_IR = 18, 9


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

    def graph(self) -> bytes:
        """Build the ONNX graph for one block of equally long histories, node by node.

        The exporter would unroll the steps of its example.
        """
        from onnx import TensorProto, helper, numpy_helper

        stored = self.unit.state_dict()

        def gates(name: str) -> Any:
            """Reorder gates: torch has reset, update, new; ONNX has update, reset, hidden."""
            values = stored[f"{name}_l0"]  # (3 D, D) or (3 D,)
            reset, update, new = values.numpy().reshape(3, -1, *values.shape[1:])
            return np.concatenate([update, reset, new])[None]

        size = self.items.shape[1]
        values = {
            "input_weights": gates("weight_ih"),
            "state_weights": gates("weight_hh"),
            "biases": np.concatenate([gates("bias_ih"), gates("bias_hh")], 1),
            "out_weights": self.out.weight.detach().numpy(),
            "out_bias": self.out.bias.detach().numpy(),
            "first": np.zeros(1, np.int64),
        }
        inputs = ["steps_first", "input_weights", "state_weights", "biases"]
        nodes = [
            helper.make_node("Transpose", [INPUT], ["steps_first"], perm=[1, 0, 2]),
            helper.make_node("GRU", inputs, ["", "state"], hidden_size=size, linear_before_reset=1),
            helper.make_node("Squeeze", ["state", "first"], ["last"]),
            helper.make_node("Gemm", ["last", "out_weights", "out_bias"], [OUTPUT], transB=1),
        ]
        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            "gru4rec",
            [helper.make_tensor_value_info(INPUT, kind, ["rows", "steps", size])],
            [helper.make_tensor_value_info(OUTPUT, kind, ["rows", size])],
            [numpy_helper.from_array(value, name) for name, value in values.items()],
        )
        opset = [helper.make_opsetid("", _ONNX_OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_ONNX_IR)
        result: bytes = model.SerializeToString()
        return result
