"""Content-addressed vector cache: each input is encoded once for all items, datasets and runs.

There is one folder per encoder with segments: files that are written to a temporary name, flushed,
renamed and never changed. A damaged segment (killed process, full disk) is skipped; its inputs are
encoded again and the new segment replaces it. The key of a vector is the SHA-256 of the encoder's
name, its version, and the text or the hash of the file.

Shapes: N inputs, M vectors of a segment, D vector size.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip.content.encoders.base import Encoder, EncoderInput, InputT
from serendip.content.encoders.weights import hash_file
from serendip.data.arrays import FloatArray
from serendip.data.limits import MAX_ENCODED_CHARS
from serendip.errors import DataError, StorageError
from serendip.runtime.progress import Progress, SilentProgress

_SUFFIX = ".safetensors"
_KEY_BYTES = 32


class VectorCache:
    """Vectors on disk; the folder may be deleted at any time.

    Args:
        folder: created at the first write.
        batch_size: inputs per segment; a killed run loses at most these.
    """

    def __init__(self, folder: Path, batch_size: int = 1024) -> None:
        self.folder = folder
        self._batch_size = batch_size
        self._vectors: dict[str, dict[bytes, FloatArray]] = {}

    def encode(
        self,
        encoder: Encoder[InputT],
        inputs: Sequence[InputT],
        progress: Progress | None = None,
        what: str = "texts",
        batch_size: int | None = None,
    ) -> FloatArray:
        """Return ``encoder.encode(inputs)``; only inputs that are not cached are encoded.

        Args:
            encoder: encoder of the vectors.
            inputs: N texts or files; ``find_present(inputs)`` masks the missing ones.
            progress: reports the batches.
            what: name of the inputs in the progress report.
            batch_size: overrides the cache's, for inputs that are slow to encode.

        Returns:
            vectors (N, D) float32 in the order of ``inputs``.

        Raises:
            DataError: a file cannot be read.
            StorageError: a segment cannot be written.
        """
        vectors, reasons = self.encode_readable(encoder, inputs, progress, what, batch_size)
        for reason in filter(None, reasons):
            raise DataError(reason)
        return vectors

    def encode_readable(
        self,
        encoder: Encoder[InputT],
        inputs: Sequence[InputT],
        progress: Progress | None = None,
        what: str = "texts",
        batch_size: int | None = None,
    ) -> tuple[FloatArray, list[str]]:
        """Like ``encode``, but skip inputs that cannot be read.

        Returns:
            vectors (N, D), zeros for inputs that cannot be read; and for each input the reason, or
            an empty string.

        Raises:
            StorageError: a segment cannot be written.
        """
        cached = self._read_vectors(encoder)
        keys_and_reasons = [_build_key(encoder, item) for item in inputs]
        missing = {
            key: item
            for (key, _), item in zip(keys_and_reasons, inputs, strict=True)
            if key and key not in cached
        }
        new = list(missing.items())
        step = batch_size or self._batch_size
        starts = range(0, len(new), step)
        reporter = progress or SilentProgress()
        broken: dict[bytes, str] = {}
        for begin in reporter.track(starts, f"Encoding {what}", len(starts)) if new else ():
            encoded, reasons = _encode_batch(encoder, new[begin : begin + step])
            broken.update(reasons)
            if encoded:
                self._write(encoder, list(encoded), np.stack(list(encoded.values())))
                cached.update(encoded)
        if not keys_and_reasons:
            return np.empty((0, encoder.size), dtype=np.float32), []
        zeros = np.zeros(encoder.size, dtype=np.float32)
        vectors = np.stack([cached.get(key, zeros) for key, _ in keys_and_reasons])  # (N, D)
        return vectors, [reason or broken.get(key, "") for key, reason in keys_and_reasons]

    def _segment_folder(self, encoder: Encoder[InputT]) -> Path:
        """Folder of an encoder's segments."""
        plain = re.sub(r"[^\w.]+", "-", encoder.name)  # Names of models have ":" and "/".
        return self.folder / f"{plain}-{encoder.version}"

    def _read_vectors(self, encoder: Encoder[InputT]) -> dict[bytes, FloatArray]:
        """Key -> vector of an encoder; the segments are read once."""
        folder = self._segment_folder(encoder)
        if folder.name not in self._vectors:
            cached: dict[bytes, FloatArray] = {}
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                keys, vectors = _read_segment(path, encoder.size)
                cached.update(zip((key.tobytes() for key in keys), vectors, strict=True))
            self._vectors[folder.name] = cached
        return self._vectors[folder.name]

    def _write(self, encoder: Encoder[InputT], keys: list[bytes], vectors: FloatArray) -> None:
        """Write a segment of vectors (M, D) atomically.

        Raises:
            StorageError: it cannot be written.
        """
        from safetensors.numpy import save

        folder = self._segment_folder(encoder)
        joined = b"".join(keys)
        key_rows = np.frombuffer(joined, dtype=np.uint8).reshape(len(keys), _KEY_BYTES)  # (M, 32)
        path = folder / f"{hashlib.sha256(joined).hexdigest()[:32]}{_SUFFIX}"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                stream.write(save({"keys": key_rows.copy(), "vectors": vectors}))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write vectors to {path}: {error}.", "Free some space and run it again."
            ) from None


def _encode_batch(
    encoder: Encoder[InputT], batch: Sequence[tuple[bytes, InputT]]
) -> tuple[dict[bytes, FloatArray], dict[bytes, str]]:
    """Encode (key, input) pairs: key -> vector, and key -> reason if it cannot be read."""
    try:
        vectors = encoder.encode([item for _, item in batch])
    except DataError as error:
        if len(batch) == 1:
            return {}, {batch[0][0]: error.message}
    else:
        return dict(zip((key for key, _ in batch), vectors, strict=True)), {}
    # An input of the batch cannot be read: encode one by one to find out which.
    encoded: dict[bytes, FloatArray] = {}
    reasons: dict[bytes, str] = {}
    for pair in batch:
        vector, reason = _encode_batch(encoder, [pair])
        encoded.update(vector)
        reasons.update(reason)
    return encoded, reasons


def _build_key(encoder: Encoder[InputT], item: EncoderInput) -> tuple[bytes, str]:
    """Key of an input; empty and with a reason if it cannot be read."""
    try:
        parts = (encoder.name, encoder.version, _read_content(item))
    except DataError as error:
        return b"", error.message
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest(), ""


def _read_content(item: EncoderInput) -> str:
    """Encoded part of a text, hash of a file, or an empty string for None.

    Raises:
        DataError: a file cannot be read.
    """
    if not isinstance(item, Path):
        return (item or "")[:MAX_ENCODED_CHARS]
    try:
        return hash_file(item)
    except OSError as error:
        raise DataError(f"{item} cannot be read: {error.strerror}.", "Check the file.") from None


def _read_segment(path: Path, size: int) -> tuple[NDArray[np.uint8], FloatArray]:
    """Keys (M, 32) and vectors (M, D) of a segment; empty if damaged or of another vector size."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    empty = np.empty((0, _KEY_BYTES), np.uint8), np.empty((0, size), np.float32)
    try:
        arrays = load_file(path)
        keys, vectors = arrays["keys"], arrays["vectors"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return empty
    is_valid = keys.shape == (len(vectors), _KEY_BYTES) and vectors.shape[1:] == (size,)
    return (keys, vectors) if is_valid and np.isfinite(vectors).all() else empty
