"""Vectors by content: a text is encoded once, whatever item, dataset or run it belongs to.

One folder per encoder holds segments: files that are written aside, flushed and renamed, and
never changed. A segment that is torn (a killed process, a full disk) is passed over; its texts are
encoded again and the new segment takes its place. The key of a vector is the SHA-256 of the
encoder's name, its version and the text.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip.content.text import TextEncoder
from serendip.data.arrays import FloatArray
from serendip.errors import StorageError
from serendip.scale.progress import Progress, SilentProgress

_SUFFIX = ".safetensors"
_KEY_BYTES = 32


class VectorCache:
    """A folder of vectors that survives restarts and may be deleted at any time.

    Args:
        folder: created at the first write.
        batch_size: texts per segment: what a killed run may lose.
    """

    def __init__(self, folder: Path, batch_size: int = 1024) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._known: dict[str, dict[bytes, FloatArray]] = {}

    def encode(
        self, encoder: TextEncoder, texts: Sequence[str], progress: Progress | None = None
    ) -> FloatArray:
        """What ``encoder.encode(texts)`` gives; only texts never seen before are encoded.

        Returns:
            vectors (N, D) float32 in the order of ``texts``.

        Raises:
            StorageError: a segment cannot be written.
        """
        known = self._vectors_of(encoder)
        keys = [_key(encoder, text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        new = list(missing.items())
        starts = range(0, len(new), self._batch_size)
        follow = progress or SilentProgress()
        for begin in follow.track(starts, "Encoding texts", len(starts)) if new else ():
            batch = new[begin : begin + self._batch_size]
            vectors = encoder.encode([text for _, text in batch])
            self._write(encoder, [key for key, _ in batch], vectors)
            known.update(zip((key for key, _ in batch), vectors, strict=True))
        if not keys:
            return np.empty((0, encoder.size), dtype=np.float32)
        return np.stack([known[key] for key in keys])

    def _place(self, encoder: TextEncoder) -> Path:
        return self._folder / f"{encoder.name}-{encoder.version}"

    def _vectors_of(self, encoder: TextEncoder) -> dict[bytes, FloatArray]:
        place = self._place(encoder)
        if place.name not in self._known:
            known: dict[bytes, FloatArray] = {}
            for path in sorted(place.glob(f"*{_SUFFIX}")):
                keys, vectors = _read_segment(path, encoder.size)
                known.update(zip((key.tobytes() for key in keys), vectors, strict=True))
            self._known[place.name] = known
        return self._known[place.name]

    def _write(self, encoder: TextEncoder, keys: list[bytes], vectors: FloatArray) -> None:
        from safetensors.numpy import save

        place = self._place(encoder)
        joined = b"".join(keys)
        key_rows = np.frombuffer(joined, dtype=np.uint8).reshape(len(keys), _KEY_BYTES)
        path = place / f"{hashlib.sha256(joined).hexdigest()[:32]}{_SUFFIX}"
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            place.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as stream:
                stream.write(save({"keys": key_rows.copy(), "vectors": vectors}))
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write vectors to {path}: {error}.", "Free some space and run it again."
            ) from None


def _key(encoder: TextEncoder, text: str) -> bytes:
    parts = (encoder.name, encoder.version, text)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def _read_segment(path: Path, size: int) -> tuple[NDArray[np.uint8], FloatArray]:
    """Keys (M, 32) and vectors (M, D); both empty where the file is torn or of another size."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    nothing = np.empty((0, _KEY_BYTES), np.uint8), np.empty((0, size), np.float32)
    try:
        parts = load_file(path)
        keys, vectors = parts["keys"], parts["vectors"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return nothing
    is_whole = keys.shape == (len(vectors), _KEY_BYTES) and vectors.shape[1:] == (size,)
    return (keys, vectors) if is_whole and np.isfinite(vectors).all() else nothing
