"""A benchmark folder small enough for tests: walks in circles over 30 items in three groups."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serendip.runtime.executor import Executor

NUM_ITEMS, NUM_USERS = 30, 40
GROUPS = (["Toys", "Trains"], ["Books", "Tales"], ["Garden", "Tools"])


def sequences(seed: int = 0) -> dict[str, list[str]]:
    """User -> items: from a random start in steps of 3, which stay in one group, or of 1."""
    rng = np.random.default_rng(seed)
    sequence_of = {}
    for user in range(NUM_USERS):
        start, length = int(rng.integers(NUM_ITEMS)), int(rng.integers(4, 9))
        step = 3 if rng.random() < 0.8 else 1
        sequence_of[f"u{user}"] = [
            f"i{(start + step * position) % NUM_ITEMS}" for position in range(length)
        ]
    return sequence_of


def write_world(folder: Path, users: dict[str, list[str]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [" ".join([user, *items]) for user, items in (users or sequences()).items()]
    (folder / "sequences.txt").write_text("\n".join(lines) + "\n")
    with (folder / "items.jsonl").open("w") as stream:
        for number in range(NUM_ITEMS):
            path = GROUPS[number % 3]
            row = {"item_id": f"i{number}", "title": f"{path[1]} {number}", "categories": [path]}
            stream.write(json.dumps(row) + "\n")
    return folder


class InThisProcess(Executor):
    """Runs tasks here, in their order, and remembers them; ends after ``most`` of them."""

    name = "here"
    workers = 1

    def __init__(self, most: int = 100) -> None:
        self.names: list[str] = []
        self._most = most

    def map(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        for task in tasks:
            if len(self.names) == self._most:
                raise KeyboardInterrupt
            self.names.append(str(task))
            yield work(task)
