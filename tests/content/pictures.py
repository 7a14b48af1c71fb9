"""Pictures for tests, drawn and never stored."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")


def stripes(path: Path, width: int = 64, height: int = 48, step: int = 8, hue: int = 0) -> Path:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, (np.arange(width) // step) % 2 == 0, hue % 3] = 220
    Image.fromarray(pixels).save(path)
    return path


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes that claims to be large; what should be pixels is no picture at all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"?") + chunk(b"IEND", b"")
    )
    return path
