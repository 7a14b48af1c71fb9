"""What the product is given and what it is not: users, the items held out, the exported files."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from serendip.runtime.atomic_files import hash_files
from serendip_bench.datasets.sequences import (
    MIN_EVENTS,
    SEQUENCE_FILES,
    category_path,
    read_item_rows,
    read_sequences,
    read_users,
    title_of,
)

NEWEST, DAY = 1_700_006_400, 86_400
"""Beginning of the day of the newest events in training, and length of a day, in seconds."""


@dataclass(frozen=True, slots=True)
class ServedUser:
    """A user that can be asked.

    Args:
        user_id: of the user.
        history: item ids in training.
        posted: the last but one item.
        target: the last item.
    """

    user_id: str
    history: Sequence[str]
    posted: str
    target: str


@dataclass(frozen=True)
class ServedData:
    """A sequence set, and the share of its items that the training does not get.

    Args:
        folder: of the data.
        share: of the items.
        seed: of these items, and of the times of the day.
    """

    folder: Path
    share: float = 0.0
    seed: int = 0

    @cached_property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """Item id -> its row.

        Raises:
            DataError: see ``read_sequences``.
        """
        read_sequences(self.folder)  # all checks of the two files
        return read_item_rows(self.folder)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Items that are in neither file."""
        ids = list(self.rows)
        chosen = np.random.default_rng(self.seed).permutation(len(ids))
        return frozenset(ids[row] for row in chosen[: round(self.share * len(ids))].tolist())

    @cached_property
    def training(self) -> dict[str, list[str]]:
        """User -> all items but the last two and those that are left out."""
        return {
            user: [item for item in _first_items(items) if item not in self.left_out]
            for user, items in read_users(self.folder).items()
        }

    def count_events(self) -> dict[str, int]:
        """Item -> events in training."""
        counts = dict.fromkeys(self.rows, 0)
        for items in self.training.values():
            for item in items:
                counts[item] += 1
        return counts

    def list_users(self) -> list[ServedUser]:
        """Users with three items or more whose target is new to them."""
        return [
            ServedUser(user, self.training[user], items[-2], items[-1])
            for user, items in read_users(self.folder).items()
            if len(items) >= MIN_EVENTS and items[-1] not in items[:-1]
        ]

    def list_items(self, wanted: Collection[str]) -> list[dict[str, str]]:
        """Id, title and category path of items, in the order of the catalogue."""
        return [
            {"item_id": item, "title": title_of(row), "category": " > ".join(category_path(row))}
            for item, row in self.rows.items()
            if item in wanted
        ]

    def order_items(self) -> dict[str, int]:
        """Item id -> its place in the order of the catalogue's own ids."""
        has_asin = all(row.get("asin") for row in self.rows.values())
        names = {item: str(row["asin"]) if has_asin else item for item, row in self.rows.items()}
        return {item: place for place, item in enumerate(sorted(names, key=names.__getitem__))}

    def digest(self) -> str:
        """Of what is exported."""
        files = hash_files(self.folder / name for name in SEQUENCE_FILES)
        return f"{files} {self.seed} {self.share}"

    def write_files(self, folder: Path) -> None:
        """items.jsonl (id, title, category path) and events.csv (user, item, time), as an export.

        The sets have no times: every user's newest event is put on the same day, and each one
        before it a day earlier, at a random time of the day.
        """
        with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
            for item in self.list_items(self.rows.keys() - self.left_out):
                stream.write(json.dumps(item, ensure_ascii=False) + "\n")
        rng, rows = np.random.default_rng(self.seed), []
        for user, items in self.training.items():
            days = NEWEST - DAY * np.arange(len(items))[::-1]
            times = days + rng.integers(0, DAY, len(items))
            rows += [(user, *row) for row in zip(items, times.tolist(), strict=True)]
        rows.sort(key=lambda row: row[2])
        with (folder / "events.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("user_id", "item_id", "timestamp"), *rows])


def _first_items(items: Sequence[str]) -> Sequence[str]:
    return items[:-2] if len(items) >= MIN_EVENTS else items
