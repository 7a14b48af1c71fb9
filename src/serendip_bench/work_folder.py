"""What a benchmark works with: its results file, what lies beside it, vectors of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import Progress
from serendip_bench.datasets.registry import SEQUENCES, dataset_of
from serendip_bench.protocol import build_protocol
from serendip_bench.results import Results

Encode: TypeAlias = Callable[[Sequence[str]], FloatArray]
"""n texts to (n, C) vectors."""


def work_folder(file: Path) -> Path:
    """What a resumed run reads again: models, ranks and vectors beside the results ``file``."""
    return file.with_name(file.name + ".work")


@contextmanager
def open_work_folder(file: Path) -> Iterator[Path]:
    """The folder beside the results ``file`` (created); one process at a time.

    Raises:
        ConfigError: it cannot be written.
        StorageError: another process is at work on the same file.
    """
    folder = work_folder(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be written: {error}."
        raise ConfigError(message, "Give --json another place.") from None
    with exclusive_lock(folder):
        yield folder


def open_bench_encoder(
    config: TextEncoderConfig, cache: Path | None, file: Path, progress: Progress
) -> Encode:
    """An encoder of texts that encodes each once.

    Args:
        config: which encoder.
        cache: folder of the vectors; None = beside the results ``file``.
        file: the results.
        progress: follows the batches.
    """
    encoder, vectors = open_encoder(config), VectorCache(cache or work_folder(file) / "cache")
    return lambda texts: vectors.encode(encoder, texts, progress)


def require_seeds(seeds: int) -> None:
    """Let a benchmark begin.

    Raises:
        ConfigError: seeds < 1.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}.", "Ask for 1 seed or more.")


@contextmanager
def open_results(kind: str, data: Path, file: Path, seeds: int) -> Iterator[Results]:
    """The rows that are there already; one process at a time.

    Args:
        kind: which benchmark, see ``build_protocol``.
        data: folder of the data.
        file: the results.
        seeds: asked for.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written or holds something else.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same file.
    """
    require_seeds(seeds)
    form = dataset_of(data) if kind == "unified" else SEQUENCES
    facts = build_protocol(kind, form.read(data), form.digest(data), form.split)
    head = {"dataset": data.resolve().name, "protocol": {**facts, **form.facts(data)}}
    with open_work_folder(file):
        results = Results(file, head)
        results.write()
        yield results
