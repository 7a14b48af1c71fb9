"""The LLM that a workspace is configured with, for as long as it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from serendip.content.encoders.weights import verify_weights
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.llm.client import Llm
from serendip.llm.config import LlmConfig
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.llm.openai import EndpointLlm

_LONGEST_TEXT = 600
_MOST_ATTRIBUTES = 12


def item_texts(item: Item) -> Mapping[str, Any]:
    """Title, description and attributes, cut to what an LLM needs.

    Names of attributes are the catalogue's, too: they stand apart from those of this file.
    """
    names = list(item.attributes)[:_MOST_ATTRIBUTES]
    texts = {
        "title": item.title[:_LONGEST_TEXT],
        "description": item.description[:_LONGEST_TEXT],
        "attributes": {name: item.field_text(name)[:_LONGEST_TEXT] for name in names},
    }
    return {name: value for name, value in texts.items() if value}


@contextmanager
def open_llm(config: LlmConfig) -> Iterator[Llm]:
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


def job_folder(workspace: Workspace, job: str) -> Path:
    """Where a run of a job keeps others of the same one out, which would pay once more."""
    return workspace.cache / "llm" / hashlib.sha256(job.encode()).hexdigest()[:16]
