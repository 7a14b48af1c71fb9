"""Content vectors of a benchmark: encoded once, with what that cost whenever it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.runtime.atomic_files import write_atomically
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.datasets.registry import dataset_of

_TEXTS_AT_ONCE = 1024
_COSTS_FILE = "cpu_seconds.json"


@dataclass(frozen=True, slots=True)
class VectorTask:
    """What is to be encoded, and where vectors go.

    Args:
        data: folder of the data.
        encoder: which encoder.
        cache: folder of the vector cache.
        target: npy file of all vectors, in the order of the texts.
        options: progress.
        reads: the items' texts, or those of queries as the kind of the folder lists them.
    """

    data: str
    encoder: TextEncoderConfig
    cache: str
    target: str
    options: TrainOptions
    reads: Literal["items", "queries"] = "items"


def encode_items(task: VectorTask) -> float:
    """Write the vectors; returns the CPU seconds that they cost, in this run or an earlier one.

    Costs lie beside the cache, one entry per 1,024 texts, so that a killed run loses none.
    """
    encoder, folder = open_encoder(task.encoder), Path(task.cache)
    texts = _texts(task)
    costs = _read_costs(folder)
    cache = VectorCache(folder, _TEXTS_AT_ONCE)
    parts, spent = [np.empty((0, encoder.size), np.float32)], 0.0
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    for begin in task.options.progress.track(starts, "Encoding texts", len(starts)):
        batch = texts[begin : begin + _TEXTS_AT_ONCE]
        key = _key(encoder.name, encoder.version, *batch)
        clock = StageClock()
        with clock.stage("encode"):
            parts.append(cache.encode(encoder, batch))
        if key not in costs:
            costs[key] = clock.stages[0].cpu_s
            write_atomically(folder / _COSTS_FILE, json.dumps(costs, indent=1))
        spent += costs[key]
    part = Path(task.target).with_suffix(".part.npy")
    np.save(part, np.concatenate(parts), allow_pickle=False)
    part.replace(task.target)
    return round(spent, 3)


def _texts(task: VectorTask) -> list[str]:
    data = Path(task.data)
    form = dataset_of(data)
    if task.reads == "queries":
        return form.texts(data)
    return form.read(data).catalogue.texts(task.encoder.fields)


def encoder_facts(encoder: TextEncoderConfig) -> dict[str, Any]:
    """What decides the vectors, for results files and digests."""
    return {**encoder.model_dump(mode="json"), "version": open_encoder(encoder).version}


def _read_costs(folder: Path) -> dict[str, float]:
    try:
        return {
            str(key): float(cost)
            for key, cost in json.loads((folder / _COSTS_FILE).read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError):
        return {}


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
