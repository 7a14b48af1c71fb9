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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Generic, TypeAlias

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
from serendip.runtime.executor import IN_PROCESS, Executor
from serendip.runtime.progress import Progress, SilentProgress

_READ_AT_ONCE = 8_192

_WAIT_S = 60.0  # longest wait for a batch of another process
_TABLE = """
PRAGMA page_size = 32768;
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL);
"""
_QUESTION = "SELECT vector FROM vectors WHERE key = ?"

BATCHES_PER_TASK = 8  # loading the weights for each task takes as long as some hundred texts
Pairs: TypeAlias = Sequence[tuple[bytes, InputT]]  # inputs and their keys
# Key -> vector, and key -> reason of inputs that cannot be read.
Encoded: TypeAlias = tuple[dict[bytes, FloatArray], dict[bytes, str]]


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
        executor: Executor = IN_PROCESS,
    ) -> FloatArray:
        """Return ``encoder.encode(inputs)``; only inputs that are not cached are encoded.

        ``find_present`` masks the missing inputs; an executor of several processes encodes many new
        inputs.

        Returns:
            vectors (N, D) float32 in the order of ``inputs``.

        Raises:
            DataError: a file cannot be read.
            StorageError: a vector cannot be written.
        """
        how = (progress, what, executor)
        vectors, reasons = self.encode_readable(encoder, inputs, *how)
        for reason in filter(None, reasons):
            raise DataError(reason)
        return vectors

    def encode_readable(
        self,
        encoder: Encoder[InputT],
        inputs: Sequence[InputT],
        progress: Progress | None = None,
        what: str = "texts",
        executor: Executor = IN_PROCESS,
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
        distinct: dict[bytes, InputT] = {keys[row]: inputs[row] for row in missing}
        new = list(distinct.items())
        step, broken = self.batch_size, dict[bytes, str]()
        batches = [new[begin : begin + step] for begin in range(0, len(new), step)]
        tasks, parts = _split(encoder, batches, executor)
        reporter = progress or SilentProgress()
        shown = reporter.track(parts, f"Encoding {what}", len(tasks)) if new else ()
        for encoded, unreadable in chain.from_iterable(shown):
            broken.update(unreadable)
            if encoded:
                self._append(encoder, encoded)
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

    def _find_file(self, encoder: Encoder[InputT] | EncoderIdentity) -> Path:
        plain = re.sub(r"[^\w.]+", "-", encoder.name)  # Names of models have ":" and "/".
        return self.folder / f"{plain}-{encoder.version}.sqlite"

    def _read(
        self, encoder: Encoder[InputT] | EncoderIdentity, keys: Sequence[bytes]
    ) -> tuple[FloatArray, BoolArray]:
        vectors = np.zeros((len(keys), encoder.size), np.float32)
        found = np.zeros(len(keys), np.bool_)
        path = self._find_file(encoder)
        if not path.is_file():
            return vectors, found
        try:
            with closing(sqlite3.connect(path, _WAIT_S)) as database:
                for row, key in enumerate(keys):
                    stored = database.execute(_QUESTION, (key,)).fetchone()
                    if stored is not None:
                        vectors[row], found[row] = np.frombuffer(stored[0], "<f4"), True
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot read vectors from {path}: {error}.",
                "Delete the file: vectors are computed again.",
            ) from None
        return vectors, found

    def _append(self, encoder: Encoder[InputT], named: Mapping[bytes, FloatArray]) -> None:
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


@dataclass(frozen=True, slots=True, eq=False)
class EncoderTask(Generic[InputT]):
    """Batches of inputs to encode; the same ones, whoever encodes them."""

    encoder: Encoder[InputT]
    batches: Sequence[Pairs[InputT]]

    def __str__(self) -> str:
        return f"the vectors of {sum(map(len, self.batches)):,} inputs"


def encode_task(task: EncoderTask[InputT]) -> list[Encoded]:
    """Encode the batches of a task; also in a process of an executor."""
    return [_encode_batch(task.encoder, batch) for batch in task.batches]


def _split(
    encoder: Encoder[InputT], batches: Sequence[Pairs[InputT]], executor: Executor
) -> tuple[list[EncoderTask[InputT]], Iterable[list[Encoded]]]:
    """Tasks of a batch each, or of several for an executor of several processes; their results."""
    is_shared = executor.workers > 1 and len(batches) > BATCHES_PER_TASK
    size = BATCHES_PER_TASK if is_shared else 1
    starts = range(0, len(batches), size)
    tasks = [EncoderTask(encoder, batches[begin : begin + size]) for begin in starts]
    return tasks, executor.map(encode_task, tasks) if is_shared else map(encode_task, tasks)


def _encode_batch(encoder: Encoder[InputT], batch: Pairs[InputT]) -> Encoded:
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
    if not isinstance(item, Path):
        return clip_text(item or "")
    try:
        return hash_file(item)
    except OSError as error:
        raise DataError(f"{item} cannot be read: {error.strerror}.", "Check the file.") from None
