"""The musicnn network in torch, up to its penultimate layer, and a reader of its checkpoint.

Paper: Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (arXiv:1909.06654). Vertical filters respond to timbre, horizontal ones to rhythm; three
residual layers over time follow, then maximum and mean over time. Difference: no tag outputs.

The checkpoint reader reads the float tensors of TensorFlow "tensor bundles" without TensorFlow. A
bundle has two files. ``.index`` is a sorted table in the format of LevelDB: a footer points to an
index block, which points to data blocks, which map names to protocol buffers with the tensor's
type, shape and offset. ``.data-00000-of-00001`` has the values. Only the subset used by such files
is supported: uncompressed blocks, one shard, little-endian float32.

Shapes: P patches, T frames, C channels, F frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.errors import ArtefactError

_EPSILON = 1e-3
_NUM_FRONT, _NUM_MIDDLE = 5, 3


class MusicNN(nn.Module):
    """Music tagger without its output layer: log-mel patches (P, T, 96) -> features (P, 200).

    Args:
        tensors: name in the published checkpoint -> tensor.
    """

    def __init__(self, tensors: Mapping[str, FloatArray]) -> None:
        super().__init__()
        last = _NUM_FRONT + _NUM_MIDDLE
        self.input_norm = _build_norm2d(tensors, 0)
        self.convolutions = [_build_convolution(tensors, number) for number in range(last)]
        self.norms = [_build_norm2d(tensors, number + 1) for number in range(last)]
        self.layers = nn.ModuleList([*self.convolutions, *self.norms])
        self.pool_norm = _build_norm1d(tensors, last + 1)
        self.dense = _build_dense(tensors)
        self.dense_norm = _build_norm1d(tensors, last + 2)
        self.eval()

    def forward(self, patches: Tensor) -> Tensor:
        """(P, T, 96) -> (P, 200)."""
        layer = self._run_front(patches)  # (P, T, 561)
        layers = [layer]
        for number in range(_NUM_FRONT, _NUM_FRONT + _NUM_MIDDLE):
            branch = self._run_middle(layer, number)  # (P, T, 64)
            layer = branch if number == _NUM_FRONT else branch + layer
            layers.append(layer)
        over_time = torch.cat(layers, dim=2)  # (P, T, 561 + 3 * 64)
        # In the checkpoint's dense layer, maximum and mean of a feature are adjacent inputs.
        pooled = torch.stack([over_time.amax(1), over_time.mean(1)], dim=2).flatten(1)
        features: Tensor = self.dense_norm(functional.relu(self.dense(self.pool_norm(pooled))))
        return features

    def _run_front(self, patches: Tensor) -> Tensor:
        """Timbre and rhythm filters, max-pooled over frequencies: (P, T, 96) -> (P, T, 561)."""
        image = self.input_norm(patches[:, None])  # (P, 1, T, 96)
        branches = []
        for number in range(_NUM_FRONT):
            branches.append(self._convolve(image, number).amax(3).transpose(1, 2))  # (P, T, C)
        return torch.cat(branches, dim=2)

    def _run_middle(self, layer: Tensor, number: int) -> Tensor:
        """Convolution over time: (P, T, C) -> (P, T, 64)."""
        return self._convolve(layer[:, None], number).squeeze(3).transpose(1, 2)

    def _convolve(self, image: Tensor, number: int) -> Tensor:
        """Convolution, ReLU and batch norm; padded in time so that T stays: (P, C, T, F)."""
        convolution = self.convolutions[number]
        padding = convolution.weight.shape[2] - 1
        padded = functional.pad(image, (0, 0, padding // 2, padding - padding // 2))
        output: Tensor = self.norms[number](functional.relu(convolution(padded)))
        return output


def _find_tensor(tensors: Mapping[str, FloatArray], layer: str, number: int, part: str) -> Tensor:
    """Tensor of a numbered layer; TensorFlow does not number the first layer of a kind."""
    name = f"{layer}_{number}" if number else layer
    return torch.from_numpy(tensors[f"{name}/{part}"].copy())


def _build_convolution(tensors: Mapping[str, FloatArray], number: int) -> nn.Conv2d:
    # TensorFlow (height, width, in, out) -> torch (out, in, height, width)
    kernel = _find_tensor(tensors, "conv2d", number, "kernel").permute(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]))
    bias = _find_tensor(tensors, "conv2d", number, "bias")
    layer.load_state_dict({"weight": kernel, "bias": bias})
    return layer


def _build_dense(tensors: Mapping[str, FloatArray]) -> nn.Linear:
    kernel = _find_tensor(tensors, "dense", 0, "kernel").T  # (in, out) -> (out, in)
    layer = nn.Linear(kernel.shape[1], kernel.shape[0])
    layer.load_state_dict({"weight": kernel, "bias": _find_tensor(tensors, "dense", 0, "bias")})
    return layer


def _build_norm1d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm1d:
    state = _read_norm_state(tensors, number)
    layer = nn.BatchNorm1d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _build_norm2d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm2d:
    state = _read_norm_state(tensors, number)
    layer = nn.BatchNorm2d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _read_norm_state(tensors: Mapping[str, FloatArray], number: int) -> dict[str, Tensor]:
    """State of a batch norm: torch's parameter name -> tensor."""
    tensorflow_names = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    return {
        name: _find_tensor(tensors, "batch_normalization", number, tensorflow_name)
        for name, tensorflow_name in tensorflow_names.items()
    }


_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_bundle(index: Path, data: Path) -> dict[str, FloatArray]:
    """Read the float tensors of a checkpoint, by name; tensors of other types are skipped.

    Raises:
        ArtefactError: the files are not such a checkpoint.
    """
    table, values = index.read_bytes(), data.read_bytes()
    try:
        return {
            key.decode(): tensor
            for key, entry in _read_table(table)
            if key and (tensor := _read_tensor(entry, values)) is not None
        }
    except (IndexError, ValueError, KeyError) as error:
        raise ArtefactError(
            f"{index} is not a readable checkpoint: {error}.", "Reinstall the package."
        ) from None


def _read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of all data blocks."""
    footer = table[-_FOOTER_BYTES:]
    if int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("the magic number is missing")
    position = 0
    for _ in range(2):  # Skip the handle of the metadata block.
        _, position = _read_varint(footer, position)
    for _, handle in _read_entries(_read_block(table, footer[position:])):
        yield from _read_entries(_read_block(table, handle))


def _read_block(table: bytes, handle: bytes) -> bytes:
    """Read the block that a handle, an (offset, size) pair, points to."""
    offset, position = _read_varint(handle, 0)
    size, _ = _read_varint(handle, position)
    if table[offset + size]:
        raise ValueError("a block is compressed")
    return table[offset : offset + size]


def _read_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; keys are prefix-compressed."""
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (num_restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _read_varint(block, position)
        unshared, position = _read_varint(block, position)
        length, position = _read_varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _read_tensor(entry: bytes, values: bytes) -> FloatArray | None:
    """Read the array that an entry describes; None if it is not float32."""
    dtype, shape, offset, size = 0, b"", 0, 0
    for number, value in _read_fields(entry):
        if number == 1:
            dtype = int(value)
        elif number == 2 and isinstance(value, bytes):
            shape = value
        elif number == 4:
            offset = int(value)
        elif number == 5:
            size = int(value)
    if dtype != _FLOAT32:
        return None
    sizes = [
        int(next((length for field, length in _read_fields(dimension) if field == 1), 0))
        for number, dimension in _read_fields(shape)
        if number == 2 and isinstance(dimension, bytes)
    ]
    return np.frombuffer(values[offset : offset + size], dtype="<f4").reshape(sizes)


def _read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbers and values of a protocol buffer's fields."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        wire_type = tag & 7
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire_type, 0)
        if wire_type == _BYTES:
            length, position = _read_varint(message, position)
        elif not length:
            raise ValueError(f"a field has the unknown wire type {wire_type}")
        yield tag >> 3, message[position : position + length]
        position += length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a varint (7 bits per byte, lowest first): its value and the position after it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
