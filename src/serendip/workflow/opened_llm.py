"""The LLM that a workspace is configured with, for as long as it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from serendip.content.encoders.weights import verify_weights
from serendip.errors import ConfigError
from serendip.llm.client import Llm
from serendip.llm.endpoint import EndpointLlm
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.llm.settings import LlmConfig


@contextmanager
def opened_llm(config: LlmConfig) -> Iterator[Llm]:
    """Ready to be asked; a local one is stopped at the end.

    Raises:
        ArtefactError: the weights of a local one are not those of ``models.lock``.
        ConfigError: none is configured, or what an endpoint needs is missing.
        ExtraMissing: a package that it needs is not installed.
    """
    if config.provider == "off":
        raise ConfigError(
            "no LLM is configured.",
            "Set [llm] provider = 'endpoint', base_url and model in serendip.toml, or 'local'.",
        )
    if config.provider == "endpoint":
        with closing(EndpointLlm(config)) as endpoint:
            yield endpoint
        return
    with LocalLlm(verify_weights(PACKAGE), config) as local:
        yield local
