"""Reads TensorFlow checkpoints ("tensor bundles") without TensorFlow: float tensors by name.

A bundle is two files. ``.index`` is a sorted table in the format of LevelDB: a footer points to an
index block, that to data blocks, and these map names to small protocol buffers with the tensor's
type, shape and place. ``.data-00000-of-00001`` holds the numbers. Only what such files need is
read here: uncompressed blocks, one shard, little-endian float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.errors import ArtefactError

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
