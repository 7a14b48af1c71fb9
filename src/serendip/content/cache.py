"""Content-addressed vector cache: an input is encoded once, whatever item, dataset or run needs it.

One folder per encoder holds segments: files that are written to a temporary name, flushed and
renamed, and never changed. A torn segment (a killed process, a full disk) is skipped; its inputs
are encoded again and the new segment replaces it. The key of a vector is the SHA-256 of the
encoder's name, its version and the text, or the contents of the file, wherever it lies.
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
    """A folder of vectors that survives restarts and may be deleted at any time.

    Args:
        folder: created at the first write.
        batch_size: inputs per segment: what a killed run may lose.
    """

    def __init__(self, folder: Path, batch_size: int = 1024) -> None:
        self.folder = folder
        self._batch_size = batch_size
        self._known: dict[str, dict[bytes, FloatArray]] = {}

    def encode(
        self,
        encoder: Encoder[InputT],
        inputs: Sequence[InputT],
        progress: Progress | None = None,
        what: str = "texts",
        batch_size: int | None = None,
    ) -> FloatArray:
        """What ``encoder.encode(inputs)`` gives; only inputs never seen before are encoded.

        Args:
            encoder: which vectors.
            inputs: N texts or files; which of them are there is ``present_rows(inputs)``.
            progress: follows the batches.
            what: the inputs in a word, for the progress.
            batch_size: another one for inputs that are slow to encode.

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
        """As ``encode``, but an input that cannot be read stops nothing.

        Returns:
            vectors (N, D), zeros where an input cannot be read; and why not, by input: empty where
            it can.

        Raises:
            StorageError: a segment cannot be written.
        """
        known = self._vectors_of(encoder)
        keyed = [_key(encoder, one) for one in inputs]
        missing = {
            key: one
            for (key, _), one in zip(keyed, inputs, strict=True)
            if key and key not in known
        }
        new = list(missing.items())
        step = batch_size or self._batch_size
        starts = range(0, len(new), step)
        follow = progress or SilentProgress()
        broken: dict[bytes, str] = {}
        for begin in follow.track(starts, f"Encoding {what}", len(starts)) if new else ():
            found, refused = _encoded(encoder, new[begin : begin + step])
            broken.update(refused)
            if found:
                self._write(encoder, list(found), np.stack(list(found.values())))
                known.update(found)
        if not keyed:
            return np.empty((0, encoder.size), dtype=np.float32), []
        filler = np.zeros(encoder.size, dtype=np.float32)
        vectors = np.stack([known.get(key, filler) for key, _ in keyed])
        return vectors, [reason or broken.get(key, "") for key, reason in keyed]

    def _place(self, encoder: Encoder[InputT]) -> Path:
        plain = re.sub(r"[^\w.]+", "-", encoder.name)  # Names of models have ":" and "/".
        return self.folder / f"{plain}-{encoder.version}"

    def _vectors_of(self, encoder: Encoder[InputT]) -> dict[bytes, FloatArray]:
        place = self._place(encoder)
        if place.name not in self._known:
            known: dict[bytes, FloatArray] = {}
            for path in sorted(place.glob(f"*{_SUFFIX}")):
                keys, vectors = _read_segment(path, encoder.size)
                known.update(zip((key.tobytes() for key in keys), vectors, strict=True))
            self._known[place.name] = known
        return self._known[place.name]

    def _write(self, encoder: Encoder[InputT], keys: list[bytes], vectors: FloatArray) -> None:
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


def _encoded(
    encoder: Encoder[InputT], batch: Sequence[tuple[bytes, InputT]]
) -> tuple[dict[bytes, FloatArray], dict[bytes, str]]:
    """Vectors of the inputs that can be read, and why the others cannot, both by key."""
    try:
        vectors = encoder.encode([one for _, one in batch])
    except DataError as error:
        if len(batch) == 1:
            return {}, {batch[0][0]: error.message}
    else:
        return dict(zip((key for key, _ in batch), vectors, strict=True)), {}
    # Which of them it was, and whether it was the only one, is known once each is tried alone.
    found: dict[bytes, FloatArray] = {}
    refused: dict[bytes, str] = {}
    for one in batch:
        vector, reason = _encoded(encoder, [one])
        found.update(vector)
        refused.update(reason)
    return found, refused


def _key(encoder: Encoder[InputT], one: EncoderInput) -> tuple[bytes, str]:
    """The key of an input; empty where it cannot be read, and why not."""
    try:
        parts = (encoder.name, encoder.version, _content(one))
    except DataError as error:
        return b"", error.message
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest(), ""


def _content(one: EncoderInput) -> str:
    """What is read of a text, the hash of a file, or nothing."""
    if not isinstance(one, Path):
        return (one or "")[:MAX_ENCODED_CHARS]
    try:
        return hash_file(one)
    except OSError as error:
        raise DataError(f"{one} cannot be read: {error.strerror}.") from None


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
