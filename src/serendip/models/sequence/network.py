"""What a network over item sequences has to offer to be trained and exported. Torch, training only.

Shapes: N items, D embedding size, T events of a batch in one line, B sequences.

The torch half of SASRec: causal self-attention over packed histories, for training only.

All that treats events alone runs over the line of a batch; attention runs block by block over
sequences of equal length, which are views of the line: no padding, no mask but the causal one.

Shapes: T events of a batch in one line, D embedding size.

The torch half of GRU4Rec: one gated recurrent unit over packed histories, for training only.

Shapes: T events of a batch in one line, D embedding size.
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


class SequenceBlock(nn.Module):
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
        block = OriginalBlock if config.block == "original" else SequenceBlock
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
            assert isinstance(block, OriginalBlock | SequenceBlock)
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


_ONNX_OPSET, _ONNX_IR = 18, 9


class GRU4RecNetwork(SequenceNetwork):
    """Item embeddings, a gated recurrent unit, a linear layer."""

    def __init__(self, num_items: int, config: GRU4RecConfig) -> None:
        super().__init__(num_items, config)
        size = config.embedding_size
        self.unit, self.out = nn.GRU(size, size), nn.Linear(size, size)

    def read(self, line: Tensor, blocks: Blocks) -> Tensor:
        """Item vectors (T, D) -> vectors (T, D)."""
        line = functional.dropout(line, self.dropout, self.training)
        # Packed means step by step, longest sequence first; the line has the longest last.
        places = places_in(blocks)
        order = torch.argsort(places.flip(0), stable=True)
        steps = PackedSequence(line.flip(0)[order], torch.bincount(places))
        states = torch.empty_like(line).index_copy(0, order, self.unit(steps)[0].data).flip(0)
        result: Tensor = self.out(functional.dropout(states, self.dropout, self.training))
        return result

    def graph(self) -> bytes:
        """ONNX of one block of equally long histories, written by hand.

        The exporter would unroll the steps of its example.
        """
        from onnx import TensorProto, helper, numpy_helper

        stored = self.unit.state_dict()

        def gates(name: str) -> Any:
            """Torch has reset, update, new; ONNX has update, reset, hidden."""
            values = stored[f"{name}_l0"]
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
        given = ["steps_first", "input_weights", "state_weights", "biases"]
        nodes = [
            helper.make_node("Transpose", [INPUT], ["steps_first"], perm=[1, 0, 2]),
            helper.make_node("GRU", given, ["", "state"], hidden_size=size, linear_before_reset=1),
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
