"""What a training has cost, also where it was killed and went on from its checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from serendip.runtime.atomic_files import write_text
from serendip.runtime.progress import empty_note

T = TypeVar("T")

_SPENT_FILE, COSTS_FILE = "spent.json", "costs.json"


class TrainingCost:
    """CPU and wall seconds of a training; as a ``Progress`` it notes them after every epoch.

    Args:
        folder: of the row. What an earlier process noted there counts if ``resumes``.
        resumes: whether a checkpoint of that process is there.
    """

    def __init__(self, folder: Path, resumes: bool) -> None:
        self._path = folder / _SPENT_FILE
        self._before = _read(self._path) if resumes else (0.0, 0.0)
        self._start = time.process_time(), time.perf_counter()

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[T]:
        """Yield ``items`` unchanged, noting the costs after each."""
        for item in items:
            yield item
            write_text(self._path, json.dumps(self.seconds()))

    def seconds(self) -> tuple[float, float]:
        """(CPU, wall) seconds since the training first started, pauses left out."""
        now = time.process_time(), time.perf_counter()
        cpu, wall = (
            round(before + then - start, 3)
            for before, then, start in zip(self._before, now, self._start, strict=True)
        )
        return cpu, wall


def with_parts(own: tuple[float, float], folders: Mapping[str, str]) -> dict[str, Any]:
    """The costs of a row: its own and, where it is made from other rows, all of theirs.

    Args:
        own: CPU and wall seconds.
        folders: name -> folder of the rows that it is made from; they left their costs there.
    """
    parts = {name: read_costs(Path(folder)) for name, folder in folders.items()}
    cpu, wall = (
        round(seconds + sum(part[place] for part in parts.values()), 3)
        for place, seconds in enumerate(own)
    )
    costs: dict[str, Any] = {"train_cpu_s": cpu, "train_wall_s": wall}
    if parts:
        both = {name: {"train_cpu_s": c, "train_wall_s": w} for name, (c, w) in parts.items()}
        costs["parts"] = {"itself": {"train_cpu_s": own[0], "train_wall_s": own[1]}, **both}
    return costs


def write_costs(folder: Path, costs: Mapping[str, Any]) -> None:
    """Leave a row's costs in its folder, for rows that are made from it."""
    write_text(folder / COSTS_FILE, json.dumps([costs["train_cpu_s"], costs["train_wall_s"]]))


def read_costs(folder: Path) -> tuple[float, float]:
    """CPU and wall seconds that a row left in its folder."""
    cpu, wall = json.loads((folder / COSTS_FILE).read_text(encoding="utf-8"))
    return float(cpu), float(wall)


def _read(path: Path) -> tuple[float, float]:
    try:
        cpu, wall = json.loads(path.read_text(encoding="utf-8"))
        return float(cpu), float(wall)
    except (OSError, ValueError, TypeError):
        return 0.0, 0.0
