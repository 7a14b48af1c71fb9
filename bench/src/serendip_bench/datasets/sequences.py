"""Sequences without timestamps: one line per user in ``sequences.txt``, one item per line in
``items.jsonl``.

A line of ``sequences.txt`` is a user id followed by item ids in order of choice. The timestamp of
an event is its position in the user's line, which preserves the order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary
from serendip.data.vocabulary import MISSING
from serendip.errors import DataError

SEQUENCES_FILE, ITEMS_FILE = "sequences.txt", "items.jsonl"
TEXT_FIELDS = ("title", "category")
"""Fields that are encoded: ``Item.text`` of these, "title. names of the first category path"."""

MIN_EVENTS = 3
"""Minimum number of events of an evaluated user; all others are training data only."""

_LAYOUT = f"A benchmark folder contains {SEQUENCES_FILE} and {ITEMS_FILE}."


def read_sequences(folder: Path) -> Dataset:
    """Read items, in the order of ``items.jsonl``, and events; no features.

    Raises:
        DataError: a file is missing or unreadable, an item or a user is duplicate, an item of a
            user is not in ``items.jsonl``, or no user has three events.
    """
    catalogue = _read_items(folder / ITEMS_FILE)
    path = folder / SEQUENCES_FILE
    users: list[str] = []
    sequences: list[list[str]] = []
    for number, line in _read_lines(path):
        user, *items = line.split()
        if not items:
            raise DataError(f"{path}:{number}: user {user!r} has no items.", "Leave the user out.")
        users.append(user)
        sequences.append(items)
    _check_unique(path, "user", users)
    lengths = [len(items) for items in sequences]
    if not any(length >= MIN_EVENTS for length in lengths):
        raise DataError(
            f"{path}: none of {len(users)} users has {MIN_EVENTS} items.",
            "The last two items of a user are held out; training needs at least one more.",
        )
    return Dataset(catalogue, Vocabulary(users), _build_log(path, catalogue, users, sequences))


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Non-blank lines with their numbers."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", _LAYOUT) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _LAYOUT) from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _read_items(path: Path) -> Catalogue:
    items = []
    for number, line in _read_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number} is not JSON: {error}.") from None
        if not isinstance(row, dict) or row.get("item_id") in (None, ""):
            raise DataError(
                f"{path}:{number} has no item_id.",
                "Every line must be a JSON object with an item_id.",
            )
        items.append(_to_item(row))
    _check_unique(path, "item", [item.item_id for item in items])
    return Catalogue(items)


def read_category_paths(folder: Path) -> dict[str, tuple[str, ...]]:
    """Item id -> names of its first category path, from the root; empty without one.

    Raises:
        DataError: a line is not JSON.
    """
    paths = {}
    for number, line in _read_lines(folder / ITEMS_FILE):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{folder / ITEMS_FILE}:{number} is not JSON: {error}.") from None
        first = next(iter(row.get("categories") or ()), ())
        paths[str(row["item_id"])] = tuple(map(str, first)) if isinstance(first, list) else ()
    return paths


def _to_item(row: dict[str, Any]) -> Item:
    paths = row.get("categories") or [[]]
    words = " ".join(str(word) for word in paths[0]) if isinstance(paths[0], list) else ""
    title = str(row.get("title") or row.get("textual_id") or "")
    return Item(str(row["item_id"]), title, attributes={"category": words})


def _check_unique(path: Path, kind: str, ids: Sequence[str]) -> None:
    duplicates = [name for name, count in Counter(ids).items() if count > 1]
    if duplicates:
        raise DataError(
            f"{path}: {len(duplicates)} {kind}s have more than one line; the first is "
            f"{duplicates[0]!r}.",
            f"Give each {kind} one line.",
        )


def _build_log(
    path: Path, catalogue: Catalogue, users: Sequence[str], sequences: Sequence[Sequence[str]]
) -> EventLog:
    """All events, ordered by position, then by user."""
    lengths = np.array([len(items) for items in sequences])
    user_nums = np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)
    items = catalogue.vocabulary.numbers(item for sequence in sequences for item in sequence)
    unknown = np.flatnonzero(items == MISSING)
    positions = np.arange(len(items)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # (E,)
    if len(unknown):
        first = unknown[0]
        name = sequences[user_nums[first]][positions[first]]
        raise DataError(
            f"{path}: {len(unknown)} items are not in {ITEMS_FILE}; the first is {name!r} of user "
            f"{users[user_nums[first]]!r}.",
            f"Add them to {ITEMS_FILE}, an item_id is enough.",
        )
    order = np.lexsort((user_nums, positions))
    return EventLog(
        user_nums[order],
        items[order],
        positions[order].astype(np.float64),
        np.zeros(len(items), np.bool_),
        np.full(len(items), np.nan, np.float32),
    )
