"""Text vectors of a benchmark: encoded once, with their CPU cost over all runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.runtime.atomic_files import write_text
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.datasets.registry import detect_dataset

_BATCH_TEXTS = 1024
_COSTS_FILE = "cpu_seconds.json"


@dataclass(frozen=True, slots=True)
class VectorTask:
    """Texts to encode, and the file of their vectors.

    Args:
        data: folder of the data.
        encoder: of the texts.
        cache: folder of the vector cache.
        target: npy file of all vectors, in the order of the texts.
        options: progress.
        reads: texts of the items, or texts of the queries, see ``BenchDataset.texts``.
    """

    data: str
    encoder: TextEncoderConfig
    cache: str
    target: str
    options: TrainOptions
    reads: Literal["items", "queries"] = "items"


def encode_items(task: VectorTask) -> float:
    """Write the vectors; returns the CPU seconds of encoding, in this run or an earlier one.

    Costs are stored beside the cache, one entry per 1,024 texts, so that a killed run loses none.
    """
    encoder, folder = open_encoder(task.encoder), Path(task.cache)
    texts = _read_texts(task)
    costs = _read_costs(folder)
    cache = VectorCache(folder, _BATCH_TEXTS)
    parts, seconds = [np.empty((0, encoder.size), np.float32)], 0.0
    starts = range(0, len(texts), _BATCH_TEXTS)
    for begin in task.options.progress.track(starts, "Encoding texts", len(starts)):
        batch = texts[begin : begin + _BATCH_TEXTS]
        key = _hash_texts(encoder.name, encoder.version, *batch)
        clock = StageClock()
        with clock.stage("encode"):
            parts.append(cache.encode(encoder, batch))
        if key not in costs:
            costs[key] = clock.stages[0].cpu_s
            write_text(folder / _COSTS_FILE, json.dumps(costs, indent=1))
        seconds += costs[key]
    part = Path(task.target).with_suffix(".part.npy")
    np.save(part, np.concatenate(parts), allow_pickle=False)  # (texts, C)
    part.replace(task.target)
    return round(seconds, 3)


def _read_texts(task: VectorTask) -> list[str]:
    data = Path(task.data)
    dataset = detect_dataset(data)
    if task.reads == "queries":
        return dataset.texts(data)
    return dataset.read(data).catalogue.texts(task.encoder.fields)


def describe_encoder(encoder: TextEncoderConfig) -> dict[str, Any]:
    """Configuration that determines the vectors, for results files and digests."""
    return {**encoder.model_dump(mode="json"), "version": open_encoder(encoder).version}


def _read_costs(folder: Path) -> dict[str, float]:
    try:
        return {
            str(key): float(cost)
            for key, cost in json.loads((folder / _COSTS_FILE).read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError):
        return {}


def _hash_texts(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
