"""Encodes many texts in tasks of an executor, into the vector cache.

A task encodes whole batches, the same ones as the cache itself would, in the same order: the files
of the cache do not depend on who encoded what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.text import TextEncoderConfig, encoder_names, open_encoder
from serendip.data.arrays import FloatArray
from serendip.runtime.progress import TrainOptions

BATCHES_PER_TASK = 8
"""A process loads the weights for each task, which takes as long as some hundred texts."""


@dataclass(frozen=True, slots=True)
class TextTask:
    """Texts to encode.

    Args:
        encoder: its name.
        device: torch device, for encoders that use torch.
        texts: to encode.
        batch_size: texts that are encoded at once.
    """

    encoder: str
    device: str
    texts: tuple[str, ...]
    batch_size: int

    def __str__(self) -> str:
        return f"the vectors of {len(self.texts):,} texts"


def encode_ahead(
    texts: Sequence[str], encoder: TextEncoder, cache: VectorCache, options: TrainOptions
) -> None:
    """Fill the cache by the executor, if it has several processes and many texts are missing.

    What is left is encoded when the cache is asked.

    Args:
        texts: that will be asked for.
        encoder: of the vectors.
        cache: filled in the order of the texts.
        options: progress, device and executor.
    """
    count = BATCHES_PER_TASK * cache.batch_size
    if options.executor.workers == 1 or encoder.name not in encoder_names():
        return
    missing = cache.missing(encoder, texts)
    if len(missing) <= count:
        return
    tasks = [
        TextTask(
            encoder.name,
            options.device,
            tuple(missing[begin : begin + count]),
            cache.batch_size,
        )
        for begin in range(0, len(missing), count)
    ]
    found = options.executor.map(encode_texts, tasks)
    shown = options.progress.track(found, "Encoding texts", len(tasks))
    for task, vectors in zip(tasks, shown, strict=True):
        cache.store(encoder, task.texts, vectors)


def encode_texts(task: TextTask) -> FloatArray:
    """Vectors (N, D) of the texts of a task."""
    encoder = open_encoder(TextEncoderConfig(name=task.encoder), task.device)
    starts = range(0, len(task.texts), task.batch_size)
    batches = [encoder.encode(task.texts[begin : begin + task.batch_size]) for begin in starts]
    return np.concatenate(batches)
