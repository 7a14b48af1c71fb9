"""The musicnn network in torch: the penultimate layer of a music tagger; and its checkpoint reader.

Paper: Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (arXiv:1909.06654). Tall filters respond to timbre, long ones to rhythm; three residual
layers over time follow, then the maximum and the mean over time. The tag outputs are left out.

The checkpoint reader reads TensorFlow "tensor bundles" without TensorFlow: float tensors by name. A
bundle is two files. ``.index`` is a sorted table in the format of LevelDB: a footer points to an
index block, that to data blocks, and these map names to small protocol buffers with the tensor's
type, shape and offset. ``.data-00000-of-00001`` holds the numbers. Only what such files need is
supported: uncompressed blocks, one shard, little-endian float32.
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
    """Log-mel patches (P, T, 96) -> the penultimate layer (P, 200).

    Args:
        tensors: of the published checkpoint, by their names there.
    """

    def __init__(self, tensors: Mapping[str, FloatArray]) -> None:
        super().__init__()
        last = _NUM_FRONT + _NUM_MIDDLE
        self.input_norm = _norm2d(tensors, 0)
        self.convolutions = [_convolution(tensors, number) for number in range(last)]
        self.norms = [_norm2d(tensors, number + 1) for number in range(last)]
        self.layers = nn.ModuleList([*self.convolutions, *self.norms])
        self.pool_norm = _norm1d(tensors, last + 1)
        self.dense = _dense(tensors)
        self.dense_norm = _norm1d(tensors, last + 2)
        self.eval()

    def forward(self, patches: Tensor) -> Tensor:
        """Features of each patch."""
        layer = self._front(patches)
        layers = [layer]
        for number in range(_NUM_FRONT, _NUM_FRONT + _NUM_MIDDLE):
            heard = self._middle(layer, number)
            layer = heard if number == _NUM_FRONT else heard + layer
            layers.append(layer)
        over_time = torch.cat(layers, dim=2)
        # The checkpoint's dense layer reads maximum and mean of each feature side by side.
        pooled = torch.stack([over_time.amax(1), over_time.mean(1)], dim=2).flatten(1)
        features: Tensor = self.dense_norm(functional.relu(self.dense(self.pool_norm(pooled))))
        return features

    def _front(self, patches: Tensor) -> Tensor:
        """Timbre and rhythm, the loudest over the frequencies: (P, T, 561)."""
        picture = self.input_norm(patches[:, None])
        heard = []
        for number in range(_NUM_FRONT):
            heard.append(self._heard(picture, number).amax(3).transpose(1, 2))
        return torch.cat(heard, dim=2)

    def _middle(self, layer: Tensor, number: int) -> Tensor:
        """One layer over time, (P, T, C) -> (P, T, 64)."""
        return self._heard(layer[:, None], number).squeeze(3).transpose(1, 2)

    def _heard(self, picture: Tensor, number: int) -> Tensor:
        """One convolution over a picture padded in time so that T stays: (P, C, T, F)."""
        convolution = self.convolutions[number]
        extra = convolution.weight.shape[2] - 1
        padded = functional.pad(picture, (0, 0, extra // 2, extra - extra // 2))
        found: Tensor = self.norms[number](functional.relu(convolution(padded)))
        return found


def _named(tensors: Mapping[str, FloatArray], layer: str, number: int, part: str) -> Tensor:
    name = f"{layer}_{number}" if number else layer
    return torch.from_numpy(tensors[f"{name}/{part}"].copy())


def _convolution(tensors: Mapping[str, FloatArray], number: int) -> nn.Conv2d:
    kernel = _named(tensors, "conv2d", number, "kernel").permute(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]))
    bias = _named(tensors, "conv2d", number, "bias")
    layer.load_state_dict({"weight": kernel, "bias": bias})
    return layer


def _dense(tensors: Mapping[str, FloatArray]) -> nn.Linear:
    kernel = _named(tensors, "dense", 0, "kernel").T
    layer = nn.Linear(kernel.shape[1], kernel.shape[0])
    layer.load_state_dict({"weight": kernel, "bias": _named(tensors, "dense", 0, "bias")})
    return layer


def _norm1d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm1d:
    state = _norm_state(tensors, number)
    layer = nn.BatchNorm1d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _norm2d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm2d:
    state = _norm_state(tensors, number)
    layer = nn.BatchNorm2d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _norm_state(tensors: Mapping[str, FloatArray], number: int) -> dict[str, Tensor]:
    parts = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    return {
        ours: _named(tensors, "batch_normalization", number, theirs)
        for ours, theirs in parts.items()
    }


_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_bundle(index: Path, data: Path) -> dict[str, FloatArray]:
    """Float tensors of a checkpoint; tensors of other types are passed over.

    Raises:
        ArtefactError: the files are no such checkpoint.
    """
    table, numbers = index.read_bytes(), data.read_bytes()
    try:
        return {
            key.decode(): tensor
            for key, value in _table(table)
            if key and (tensor := _tensor(value, numbers)) is not None
        }
    except (IndexError, ValueError, KeyError) as error:
        raise ArtefactError(f"{index} is no readable checkpoint: {error}.") from None


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all data blocks."""
    footer = table[-_FOOTER_BYTES:]
    if int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("the magic number is missing")
    place = 0
    for _ in range(2):  # The handle of the block of meta data, which nothing here needs.
        _, place = _varint(footer, place)
    for _, handle in _entries(_block(table, footer[place:])):
        yield from _entries(_block(table, handle))


def _block(table: bytes, handle: bytes) -> bytes:
    """The block that an (offset, size) pair points to."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    if table[offset + size]:
        raise ValueError("a block is compressed")
    return table[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key stores only where it differs from the one before."""
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (num_restarts + 1)
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        new, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + new]
        place += new
        yield key, block[place : place + length]
        place += length


def _tensor(entry: bytes, numbers: bytes) -> FloatArray | None:
    """The array that an entry describes; None where it is not float32."""
    kind, shape, offset, size = 0, b"", 0, 0
    for number, value in _fields(entry):
        if number == 1:
            kind = int(value)
        elif number == 2 and isinstance(value, bytes):
            shape = value
        elif number == 4:
            offset = int(value)
        elif number == 5:
            size = int(value)
    if kind != _FLOAT32:
        return None
    sizes = [
        int(next((length for field, length in _fields(one) if field == 1), 0))
        for number, one in _fields(shape)
        if number == 2 and isinstance(one, bytes)
    ]
    return np.frombuffer(numbers[offset : offset + size], dtype="<f4").reshape(sizes)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol buffer's fields."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif not length:
            raise ValueError(f"a field has the unknown kind {kind}")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits per byte, lowest first, and the place after it."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
