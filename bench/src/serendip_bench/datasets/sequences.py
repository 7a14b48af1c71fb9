"""Sequences without timestamps: one line per user in ``sequences.txt``, one item per line in
``items.jsonl``.

A line of ``sequences.txt`` is a user id followed by item ids in order of choice. The timestamp of
an event is its position in the user's line, which preserves the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary
from serendip.data.vocabulary import MISSING
from serendip.errors import DataError
from serendip_bench.datasets.json_lines import read_lines, read_objects

SEQUENCES_FILE, ITEMS_FILE = "sequences.txt", "items.jsonl"
SEQUENCE_FILES = (SEQUENCES_FILE, ITEMS_FILE)
TEXT_FIELDS = ("title", "category")
"""Fields that are encoded: ``Item.text`` of these, "title. names of the first category path"."""

MIN_EVENTS = 3
"""Minimum number of events of an evaluated user; all others are training data only."""


def read_sequences(folder: Path) -> Dataset:
    """Read items, in the order of ``items.jsonl``, and events; no features.

    Raises:
        DataError: a file is missing or unreadable, an item or a user is duplicate, an item of a
            user is not in ``items.jsonl``, or no user has three events.
    """
    items = [
        Item(item_id, title_of(row), attributes={"category": " ".join(category_path(row))})
        for item_id, row in read_item_rows(folder).items()
    ]
    catalogue, path = Catalogue(items), folder / SEQUENCES_FILE
    sequences = read_users(folder)
    if not any(len(chosen) >= MIN_EVENTS for chosen in sequences.values()):
        raise DataError(
            f"{path}: none of {len(sequences)} users has {MIN_EVENTS} items.",
            "The last two items of a user are held out; training needs at least one more.",
        )
    lengths = np.array([len(chosen) for chosen in sequences.values()])
    users = np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)  # (E,)
    ids = [item for chosen in sequences.values() for item in chosen]
    numbers = catalogue.vocabulary.numbers(ids)
    unknown = np.flatnonzero(numbers == MISSING)
    if len(unknown):
        raise DataError(
            f"{path}: {len(unknown)} items are not in {ITEMS_FILE}; the first is "
            f"{ids[unknown[0]]!r} of user {list(sequences)[users[unknown[0]]]!r}.",
            f"Add them to {ITEMS_FILE}, an item_id is enough.",
        )
    positions = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = np.lexsort((users, positions))
    log = EventLog(
        users[order],
        numbers[order],
        positions[order].astype(np.float64),
        np.zeros(len(ids), np.bool_),
        np.full(len(ids), np.nan, np.float32),
    )
    return Dataset(catalogue, Vocabulary(sequences), log)


def read_users(folder: Path) -> dict[str, list[str]]:
    """User -> item ids in order of choice.

    Raises:
        DataError: a user has no items, or more than one line.
    """
    path, lines = folder / SEQUENCES_FILE, []
    for number, line in read_lines(path):
        user, *items = line.split()
        if not items:
            raise DataError(f"{path}:{number}: user {user!r} has no items.", "Leave the user out.")
        lines.append((user, items))
    _check_unique(path, "user", [user for user, _ in lines])
    return dict(lines)


def read_item_rows(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Item id -> its row of ``items.jsonl``, in the order of the file.

    Raises:
        DataError: a line has no item_id, or an item more than one line.
    """
    rows = list(read_objects(folder / ITEMS_FILE, "item_id"))
    ids = [str(row["item_id"]) for row in rows]
    _check_unique(folder / ITEMS_FILE, "item", ids)
    return dict(zip(ids, rows, strict=True))


def title_of(row: Mapping[str, Any]) -> str:
    """Title of an item, else the words that stand for it."""
    return str(row.get("title") or row.get("textual_id") or "")


def category_path(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the first category path of an item, from the root; empty without one."""
    first = next(iter(row.get("categories") or ()), ())
    return tuple(map(str, first)) if isinstance(first, list) else ()


def _check_unique(path: Path, kind: str, ids: Sequence[str]) -> None:
    duplicates = [name for name, count in Counter(ids).items() if count > 1]
    if duplicates:
        raise DataError(
            f"{path}: {len(duplicates)} {kind}s have more than one line; the first is "
            f"{duplicates[0]!r}.",
            f"Give each {kind} one line.",
        )
