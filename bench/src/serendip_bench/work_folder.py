"""Files of a benchmark: its results, the work folder beside them, cached text vectors."""

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
from serendip_bench.datasets.registry import SEQUENCES, detect_dataset
from serendip_bench.protocol import build_protocol
from serendip_bench.results import Results

Encode: TypeAlias = Callable[[Sequence[str]], FloatArray]
"""n texts -> (n, C) vectors."""


def get_work_folder(file: Path) -> Path:
    """Folder beside the results ``file`` with models, ranks and vectors for resumed runs."""
    return file.with_name(file.name + ".work")


@contextmanager
def open_work_folder(file: Path) -> Iterator[Path]:
    """Create and lock the folder beside the results ``file``.

    Raises:
        ConfigError: the folder cannot be written.
        StorageError: another process uses the same file.
    """
    folder = get_work_folder(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be written: {error}."
        raise ConfigError(message, "Choose a writable folder for --json.") from None
    with exclusive_lock(folder):
        yield folder


def open_bench_encoder(
    config: TextEncoderConfig, cache: Path | None, file: Path, progress: Progress
) -> Encode:
    """Open a text encoder with a vector cache.

    Args:
        config: of the encoder.
        cache: folder of the vectors; None = in the work folder of ``file``.
        file: the results.
        progress: over the batches.
    """
    encoder, vectors = open_encoder(config), VectorCache(cache or get_work_folder(file) / "cache")
    return lambda texts: vectors.encode(encoder, texts, progress)


def require_seeds(seeds: int) -> None:
    """Check the number of seeds.

    Raises:
        ConfigError: seeds < 1.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}.", "Give 1 or more.")


@contextmanager
def open_results(kind: str, data: Path, file: Path, seeds: int) -> Iterator[Results]:
    """Open a results file with the rows of earlier runs, and lock its work folder.

    Args:
        kind: of benchmark, see ``build_protocol``.
        data: folder of the data.
        file: the results.
        seeds: number of seeds.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written or is not a results file.
        DataError: the data is missing or invalid.
        StorageError: another process uses the same file.
    """
    require_seeds(seeds)
    dataset = detect_dataset(data) if kind == "unified" else SEQUENCES
    facts = build_protocol(kind, dataset.read(data), dataset.digest(data), dataset.split)
    head = {"dataset": data.resolve().name, "protocol": {**facts, **dataset.facts(data)}}
    with open_work_folder(file):
        results = Results(file, head)
        results.write()
        yield results
