"""Cost of a training."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from serendip.runtime.atomic_files import write_text

T = TypeVar("T")

COSTS_FILE = "costs.json"


class TrainingCost:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.process_time(), time.perf_counter()

    def seconds(self) -> tuple[float, float]:
        """(CPU, wall) seconds."""
        cpu, wall = self._start
        return round(time.process_time() - cpu, 3), round(time.perf_counter() - wall, 3)


def add_part_costs(seconds: tuple[float, float], folders: Mapping[str, str]) -> dict[str, Any]:
    """Costs of a row: the sum of its own and those of the rows that it is built from.

    Args:
        seconds: CPU and wall seconds of its own training.
        folders: name of a part -> folder of its row, with its stored costs.
    """
    parts = {name: read_costs(Path(folder)) for name, folder in folders.items()}
    cpu, wall = (
        round(value + sum(part[column] for part in parts.values()), 3)
        for column, value in enumerate(seconds)
    )
    costs: dict[str, Any] = {"train_cpu_s": cpu, "train_wall_s": wall}
    if parts:
        part_costs = {name: {"train_cpu_s": c, "train_wall_s": w} for name, (c, w) in parts.items()}
        costs["parts"] = {
            "itself": {"train_cpu_s": seconds[0], "train_wall_s": seconds[1]},
            **part_costs,
        }
    return costs


def write_costs(folder: Path, costs: Mapping[str, Any]) -> None:
    """Store the costs of a row in its folder, for rows that are built from it."""
    write_text(folder / COSTS_FILE, json.dumps([costs["train_cpu_s"], costs["train_wall_s"]]))


def read_costs(folder: Path) -> tuple[float, float]:
    """CPU and wall seconds stored in the folder of a row."""
    cpu, wall = json.loads((folder / COSTS_FILE).read_text(encoding="utf-8"))
    return float(cpu), float(wall)
