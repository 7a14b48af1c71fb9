"""A benchmark folder small enough for tests: walks in circles over 30 items in three groups."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

NUM_ITEMS, NUM_USERS = 30, 40
GROUPS = (["Toys", "Trains"], ["Books", "Tales"], ["Garden", "Tools"])


def sequences(seed: int = 0) -> dict[str, list[str]]:
    """User -> items: from a random start in steps of 3, which stay in one group, or of 1."""
    rng = np.random.default_rng(seed)
    found = {}
    for user in range(NUM_USERS):
        start, length = int(rng.integers(NUM_ITEMS)), int(rng.integers(4, 9))
        step = 3 if rng.random() < 0.8 else 1
        found[f"u{user}"] = [f"i{(start + step * place) % NUM_ITEMS}" for place in range(length)]
    return found


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
