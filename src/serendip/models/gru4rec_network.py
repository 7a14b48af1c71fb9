"""The torch half of GRU4Rec: one gated recurrent unit over packed histories, for training only.

Shapes: T events of a batch in one line, D embedding size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from serendip.models.gru4rec import GRU4RecConfig
from serendip.models.sequence_model import INPUT, OUTPUT
from serendip.models.sequence_network import Blocks, SequenceNetwork, places_in

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
