"""Content-addressed vector cache: each input is encoded once for all items, datasets and runs.

There is one SQLite file per encoder. A batch is a transaction as soon as it is encoded: what was
stored is there after a killed process, and any number of processes read and write the file. It is
opened for each call, so that no connection is forked. The key of a vector is the SHA-256 of the
encoder's name, its version, and the text as the encoder reads it or the hash of the file.

Shapes: N inputs, D vector size.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from serendip.content.encoders.base import (
    Encoder,
    EncoderIdentity,
    EncoderInput,
    InputT,
    clip_text,
)
from serendip.data.arrays import BoolArray, FloatArray
from serendip.errors import DataError, StorageError
from serendip.runtime.atomic_files import hash_file
from serendip.runtime.progress import Progress, SilentProgress

_READ_AT_ONCE = 8_192

_WAIT_S = 60.0
"""Longest wait for a batch of another process."""

_TABLE = """
PRAGMA page_size = 32768;
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL);
"""


class VectorCache:
    """Vectors on disk; the folder may be deleted at any time.

    Args:
        folder: created at the first write.
        batch_size: inputs that are encoded and stored at once; a killed run loses at most these.
    """

    def __init__(self, folder: Path, batch_size: int = 1024) -> None:
        self.folder = folder
        self.batch_size = batch_size

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
            StorageError: a vector cannot be written.
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
            StorageError: a vector cannot be written.
        """
        keys, reasons = _build_keys(encoder, inputs)
        vectors, found = self._read(encoder, keys)  # (N, D), (N,)
        missing = [row for row in np.flatnonzero(~found).tolist() if not reasons[row]]
        new = {keys[row]: inputs[row] for row in missing}
        broken = self._encode_new(encoder, list(new.items()), progress, what, batch_size)
        for begin in range(0, len(missing), _READ_AT_ONCE):
            rows = missing[begin : begin + _READ_AT_ONCE]
            vectors[rows] = self._read(encoder, [keys[row] for row in rows])[0]
        for row in missing if broken else ():
            reasons[row] = broken.get(keys[row], "")
        return vectors, reasons

    def find(
        self, encoder: EncoderIdentity, inputs: Sequence[EncoderInput]
    ) -> tuple[FloatArray, BoolArray]:
        """Vectors (N, D) of inputs that are cached, and the mask (N,) of these; encodes nothing."""
        return self._read(encoder, _build_keys(encoder, inputs)[0])

    def missing(self, encoder: Encoder[str], texts: Sequence[str]) -> list[str]:
        """Texts that have no vector yet, each once, in their order."""
        keys, _ = _build_keys(encoder, texts)
        question = "SELECT key FROM vectors WHERE key = ?"
        held = {row for row, _ in self._look_up(encoder, question, keys)}
        missing = [row for row in range(len(keys)) if row not in held]
        return list({keys[row]: texts[row] for row in missing}.values())

    def store(self, encoder: Encoder[str], texts: Sequence[str], vectors: FloatArray) -> None:
        """Store vectors (N, D) of texts, a batch at a time.

        Raises:
            StorageError: they cannot be written.
        """
        keys, _ = _build_keys(encoder, texts)
        for begin in range(0, len(texts), self.batch_size):
            rows = slice(begin, begin + self.batch_size)
            # Of equal texts one vector counts.
            named = dict(zip(keys[rows], vectors[rows], strict=True))
            self._append(encoder, named)

    def _encode_new(
        self,
        encoder: Encoder[InputT],
        new: Sequence[tuple[bytes, InputT]],
        progress: Progress | None,
        what: str,
        batch_size: int | None,
    ) -> dict[bytes, str]:
        """Encode and store (key, input) pairs; key -> reason of those that cannot be read."""
        step, broken = batch_size or self.batch_size, dict[bytes, str]()
        starts = range(0, len(new), step)
        reporter = progress or SilentProgress()
        for begin in reporter.track(starts, f"Encoding {what}", len(starts)) if new else ():
            encoded, reasons = _encode_batch(encoder, new[begin : begin + step])
            broken.update(reasons)
            if encoded:
                self._append(encoder, encoded)
        return broken

    def _find_file(self, encoder: Encoder[InputT] | EncoderIdentity) -> Path:
        """The file of an encoder's vectors."""
        plain = re.sub(r"[^\w.]+", "-", encoder.name)  # Names of models have ":" and "/".
        return self.folder / f"{plain}-{encoder.version}.sqlite"

    def _read(
        self, encoder: Encoder[InputT] | EncoderIdentity, keys: Sequence[bytes]
    ) -> tuple[FloatArray, BoolArray]:
        """Read vectors by key: (N, D), zeros for missing keys, and the mask (N,) of those found."""
        vectors = np.zeros((len(keys), encoder.size), np.float32)
        found = np.zeros(len(keys), np.bool_)
        question = "SELECT vector FROM vectors WHERE key = ?"
        for row, stored in self._look_up(encoder, question, keys):
            vectors[row], found[row] = np.frombuffer(stored, "<f4"), True
        return vectors, found

    def _look_up(
        self, encoder: Encoder[InputT] | EncoderIdentity, question: str, keys: Sequence[bytes]
    ) -> Iterator[tuple[int, bytes]]:
        """Row and answer of each key that is there."""
        path = self._find_file(encoder)
        if not path.is_file():
            return
        try:
            with closing(sqlite3.connect(path, _WAIT_S)) as database:
                for row, key in enumerate(keys):
                    answer = database.execute(question, (key,)).fetchone()
                    if answer is not None:
                        yield row, answer[0]
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot read vectors from {path}: {error}.",
                "Delete the file: vectors are computed again.",
            ) from None

    def _append(self, encoder: Encoder[InputT], named: Mapping[bytes, FloatArray]) -> None:
        """Store vectors (D,) under keys; they are on disk at the end."""
        path = self._find_file(encoder)
        rows = ((key, np.asarray(vector, "<f4").tobytes()) for key, vector in named.items())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, _WAIT_S)) as database, database:
                database.executescript(_TABLE)
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
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


def _build_keys(
    encoder: Encoder[InputT] | EncoderIdentity, inputs: Sequence[EncoderInput]
) -> tuple[list[bytes], list[str]]:
    """Keys (N,) of inputs; empty ones, and a reason, for those that cannot be read."""
    prefix = hashlib.sha256(f"{encoder.name}\0{encoder.version}\0".encode())
    keys, reasons = [], []
    for item in inputs:
        digest, key, reason = prefix.copy(), b"", ""
        try:
            digest.update(_read_content(item).encode())
            key = digest.digest()
        except DataError as error:
            reason = error.message
        keys.append(key)
        reasons.append(reason)
    return keys, reasons


def _read_content(item: EncoderInput) -> str:
    """Encoded part of a text, hash of a file, or an empty string for None.

    Raises:
        DataError: a file cannot be read.
    """
    if not isinstance(item, Path):
        return clip_text(item or "")
    try:
        return hash_file(item)
    except OSError as error:
        raise DataError(f"{item} cannot be read: {error.strerror}.", "Check the file.") from None
