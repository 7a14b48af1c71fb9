from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serendip.content.encoders.musicnn import read_bundle
from serendip.errors import ArtefactError

TENSORS = {
    "dense/bias": np.arange(3, dtype=np.float32),
    "dense/kernel": np.arange(600, dtype=np.float32).reshape(200, 3),
    "scalar": np.float32(7).reshape(()),
}


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Entries whose keys share their beginnings, and one restart point."""
    data, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value))
        data += key[shared:] + value
        before = key
    return data + bytes(4) + (1).to_bytes(4, "little")


def write(folder: Path, kind: int = 1, compression: int = 0) -> tuple[Path, Path]:
    """The tensors above as a checkpoint, by the format's definition."""
    numbers, entries = b"", [(b"", field(1, 1))]
    for name, tensor in sorted(TENSORS.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        place = (field(4, len(numbers)) if numbers else b"") + field(5, tensor.nbytes)
        check = varint(6 << 3 | 5) + b"\0\0\0\0"
        entries.append((name.encode(), field(1, kind) + field(2, shape) + place + check))
        numbers += tensor.tobytes()
    data = block(entries)
    table = data + bytes([compression]) + bytes(4)
    meta, index = len(table), block([(b"z", varint(0) + varint(len(data)))])
    table += index + bytes(5)
    handles = varint(0) + varint(0) + varint(meta) + varint(len(index))
    table += handles.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    (folder / "index").write_bytes(table)
    (folder / "data").write_bytes(numbers)
    return folder / "index", folder / "data"


def test_tensors_come_back_with_names_shapes_and_numbers(tmp_path: Path) -> None:
    found = read_bundle(*write(tmp_path))
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].shape == tensor.shape
        assert np.array_equal(found[name], tensor)


def test_tensors_of_other_types_are_passed_over(tmp_path: Path) -> None:
    assert read_bundle(*write(tmp_path, kind=9)) == {}


def test_compressed_blocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="compressed"):
        read_bundle(*write(tmp_path, compression=1))


def test_torn_files_are_refused(tmp_path: Path) -> None:
    index, data = write(tmp_path)
    whole = index.read_bytes()
    for length in (0, 30, len(whole) - 1):
        index.write_bytes(whole[:length])
        with pytest.raises(ArtefactError, match="not a readable checkpoint"):
            read_bundle(index, data)
    index.write_bytes(whole)
    data.write_bytes(b"\0" * 10)
    with pytest.raises(ArtefactError, match="not a readable checkpoint"):
        read_bundle(index, data)
