"""What the product is given and what it is not: users, the items held out, the exported files.

Shapes: U users.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.runtime.atomic_files import hash_files
from serendip_bench.datasets.sequences import (
    ITEMS_FILE,
    MIN_EVENTS,
    SEQUENCES_FILE,
    read_sequences,
)

FILES_VERSION = 1
"""Increases whenever the same data would become other files."""

NEWEST, DAY = 1_700_006_400, 86_400
"""Beginning of the day of the newest events in training, and length of a day, in seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedUsers:
    """Users that can be asked, and what they chose.

    Args:
        ids: U user ids.
        histories: U lists of item ids: those in training.
        posted: U last but one items.
        targets: U last items.
    """

    ids: Sequence[str]
    histories: Sequence[Sequence[str]]
    posted: Sequence[str]
    targets: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: NDArray[np.intp]) -> ServedUsers:
        """Select users."""
        chosen = rows.tolist()
        return ServedUsers(
            [self.ids[row] for row in chosen],
            [self.histories[row] for row in chosen],
            [self.posted[row] for row in chosen],
            [self.targets[row] for row in chosen],
        )


def choose_items(folder: Path, share: float, seed: int) -> frozenset[str]:
    """Ids of a random share of the items.

    Raises:
        DataError: see ``read_sequences``.
    """
    if not share:
        return frozenset()
    read_sequences(folder)  # all checks of the two files
    ids = list(_read_catalogue(folder))
    chosen = np.random.default_rng(seed).permutation(len(ids))[: round(share * len(ids))]
    return frozenset(ids[row] for row in chosen.tolist())


def read_users(folder: Path, left_out: Collection[str] = ()) -> tuple[ServedUsers, dict[str, int]]:
    """Users with three items or more whose target is new to them; training events per item.

    Args:
        folder: of the data.
        left_out: items without an event in training.

    Raises:
        DataError: see ``read_sequences``.
    """
    read_sequences(folder)  # all checks of the two files
    users, counts = [], dict.fromkeys(_read_catalogue(folder), 0)
    for user, items in _read_lines(folder):
        known = _training_items(items, left_out)
        for item in known:
            counts[item] += 1
        if len(items) >= MIN_EVENTS and items[-1] not in items[:-1]:
            users.append((user, known, items[-2], items[-1]))
    return ServedUsers(*map(list, zip(*users, strict=True))), counts


def sample_users(users: ServedUsers, count: int, seed: int) -> ServedUsers:
    """A random part of the users, in their order; all if ``count`` is 0 or large."""
    if count == 0 or count >= len(users):
        return users
    chosen = np.random.default_rng(seed).permutation(len(users))[:count]
    return users.rows(np.sort(chosen))


def read_items(data: Path, wanted: Collection[str]) -> list[dict[str, str]]:
    """Id, title and category path of items, in the order of the catalogue."""
    items = []
    for item_id, row in _read_catalogue(data).items():
        if item_id not in wanted:
            continue
        paths = row.get("categories") or [[]]
        title = str(row.get("title") or row.get("textual_id") or "")
        path = " > ".join(map(str, paths[0]))
        items.append({"item_id": item_id, "title": title, "category": path})
    return items


def write_files(data: Path, folder: Path, seed: int, left_out: Collection[str] = ()) -> None:
    """items.jsonl (id, title, category path) and events.csv (user, item, time), as an export."""
    exported = _read_catalogue(data).keys() - set(left_out)
    with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
        for line in read_items(data, exported):
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    rng = np.random.default_rng(seed)
    rows = []
    for user, items in _read_lines(data):
        known = _training_items(items, left_out)
        times = rng.integers(0, DAY, len(known))
        for step, (item, time_of_day) in enumerate(zip(known, times.tolist(), strict=True)):
            day = NEWEST - DAY * (len(known) - 1 - step)
            rows.append((user, item, day + time_of_day))
    rows.sort(key=lambda row: row[2])
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        writer.writerows(rows)


def order_items(folder: Path) -> dict[str, Any]:
    """Item id -> its place in the order of the catalogue's own ids."""
    catalogue = _read_catalogue(folder)
    has_asin = all(row.get("asin") for row in catalogue.values())
    names = {item: str(row["asin"]) if has_asin else item for item, row in catalogue.items()}
    ordered = sorted(names, key=lambda item: names[item])
    return {item: place for place, item in enumerate(ordered)}


def compute_digest(data: Path) -> str:
    """Hash of the two files of the data."""
    files = hash_files([data / SEQUENCES_FILE, data / ITEMS_FILE])
    return hashlib.sha256(files.encode()).hexdigest()[:16]


def _training_items(items: Sequence[str], left_out: Collection[str]) -> list[str]:
    """All items of a user but the last two and those that are left out."""
    known = items[:-2] if len(items) >= MIN_EVENTS else items
    return [item for item in known if item not in left_out]


def _read_lines(folder: Path) -> Iterator[tuple[str, list[str]]]:
    with (folder / SEQUENCES_FILE).open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                user, *items = line.split()
                yield user, items


def _read_catalogue(folder: Path) -> dict[str, Mapping[str, Any]]:
    with (folder / ITEMS_FILE).open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    return {str(row["item_id"]): row for row in rows}
