"""Whether an interrupted training may go on: only where nothing that it depends on has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.dataset import Dataset
from serendip.models.retriever_config import RetrieverConfig

_LAYOUT = 2
"""Changes with the parameters of the network: those of another layout cannot be continued."""


def digest_of(dataset: Dataset, config: RetrieverConfig, seed: int) -> str:
    """SHA-256 of everything that a training's numbers depend on."""
    digest = hashlib.sha256(f"{_LAYOUT} {config.model_dump_json()} {seed}".encode())
    for text in _texts(dataset, config):
        digest.update(text.encode())
    for array in _arrays(dataset, config):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _texts(dataset: Dataset, config: RetrieverConfig) -> Iterator[str]:
    if dataset.countries is not None:
        yield repr(dataset.countries.names)
    if config.token_buckets and dataset.queries is not None:
        yield repr(list(dataset.queries.texts))


def _arrays(dataset: Dataset, config: RetrieverConfig) -> Iterator[NDArray[Any] | None]:
    log = dataset.events
    yield from (log.users, log.items, log.timestamps, log.liked, log.strengths)
    yield dataset.quality
    if (features := dataset.features) is not None:
        yield from (features.content, features.codes)
        if config.token_buckets:
            yield from (features.known_tokens.hashes, features.known_tokens.starts)
    if (alignment := dataset.alignment) is not None:
        yield from (alignment.down, alignment.up)
    if (queries := dataset.queries) is not None:
        yield from (queries.vectors, queries.items)
    if (validation := dataset.validation) is not None:
        yield from (validation.users, validation.items)
    if (countries := dataset.countries) is not None:
        yield countries.of_users
