"""What a training has cost, also where it was killed and went on from its checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from serendip.workflow.bench.files import write_whole

T = TypeVar("T")

_SPENT_FILE = "spent.json"


class Spent:
    """CPU and wall seconds of a training; as a ``Progress`` it notes them after every epoch.

    Args:
        folder: of the row. What an earlier process noted there counts if ``resumes``.
        resumes: whether a checkpoint of that process is there.
    """

    def __init__(self, folder: Path, resumes: bool) -> None:
        self._path = folder / _SPENT_FILE
        self._before = _read(self._path) if resumes else (0.0, 0.0)
        self._start = time.process_time(), time.perf_counter()

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Yield ``items`` unchanged, noting the costs after each."""
        for item in items:
            yield item
            write_whole(self._path, json.dumps(self.seconds()))

    def seconds(self) -> tuple[float, float]:
        """(CPU, wall) seconds since the training first started, pauses left out."""
        now = time.process_time(), time.perf_counter()
        cpu, wall = (
            round(before + then - start, 3)
            for before, then, start in zip(self._before, now, self._start, strict=True)
        )
        return cpu, wall


def _read(path: Path) -> tuple[float, float]:
    try:
        cpu, wall = json.loads(path.read_text(encoding="utf-8"))
        return float(cpu), float(wall)
    except (OSError, ValueError, TypeError):
        return 0.0, 0.0
