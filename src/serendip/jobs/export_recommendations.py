"""Answers for every known user at once, into one Parquet file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.sponsored import SPONSORED
from serendip.errors import DataError, UnsupportedError
from serendip.runtime.atomic_files import parquet_file, require_writable
from serendip.runtime.progress import Progress

BATCH = 128
_NEEDED = {"query": "a text", "items": "an item"}


def recommend_all(
    workspace: Path, surface: str, k: int, out: Path, progress: Progress, country: str = ""
) -> dict[str, Any]:
    """Write ``user_id, rank, item_id, score`` for every user with events.

    A surface with ``MinValueConfig`` may write fewer rows for a user, or none. Where places can be
    bought, a column ``sponsored`` says which rows are to be marked.

    Args:
        workspace: folder of the workspace.
        surface: one that needs nothing but the user.
        k: at most so many items per user, 1 or more.
        out: Parquet file; it appears whole or not at all.
        progress: follows the users.
        country: where all of them are; empty = unknown.

    Returns:
        numbers of users and rows, how many users got how many items, and the generation that
        answered.

    Raises:
        UnsupportedError: there is no such surface, or it needs an item or a text.
        ConfigError: ``out`` cannot be written; found before anything is computed.
        StorageError: it could be written before, and now cannot.
    """
    if k < 1:
        raise DataError(f"k = {k}.", "Ask for 1 item or more.")
    require_writable(out)
    engine = Engine.open(workspace)
    try:
        _require_user_only(engine, surface)
        rows = _Rows()
        users = [user for user, _ in engine.users(limit=2**31 - 1)]
        starts = range(0, len(users), BATCH)
        for begin in progress.track(starts, f"{surface} for all users", len(starts)):
            part = users[begin : begin + BATCH]
            queries = engine.queries(Request(surface, user, country=country) for user in part)
            for user, result in zip(part, engine.run(queries, surface), strict=True):
                best = result.items.take(np.arange(min(k, len(result.items))))
                rows.add(user, best, engine.item_ids(best.item_nums))
        _write(rows.columns, out)
        return {
            "users": len(users),
            "rows": len(rows.columns["rank"]),
            "users_by_items": {str(count): rows.lengths[count] for count in sorted(rows.lengths)},
            "generation": engine.generation,
            "out": str(out),
        }
    finally:
        engine.close()


class _Rows:
    """What will be written, column by column, and how many users have a list of each length."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("user_id", "rank", "item_id", "score")
        }
        self.lengths: Counter[int] = Counter()

    def add(self, user: str, best: ItemList, item_ids: list[str]) -> None:
        """The list of one user."""
        self.lengths[len(best)] += 1
        self.columns["user_id"] += [user] * len(best)
        self.columns["rank"] += list(range(1, len(best) + 1))
        self.columns["item_id"] += item_ids
        self.columns["score"] += best.scores.tolist()
        if SPONSORED in best.fields:
            self.columns.setdefault(SPONSORED, []).extend(best.fields[SPONSORED].tolist())


def _require_user_only(engine: Engine, surface: str) -> None:
    needs = engine.needs(surface)
    if needs:
        raise UnsupportedError(
            f"surface {surface!r} cannot be answered for all users: it needs {_NEEDED[needs]}.",
            "Use --surface home.",
        )


def _write(columns: dict[str, list[Any]], out: Path) -> None:
    import pyarrow as pa

    types = {
        "user_id": pa.string(),
        "rank": pa.int32(),
        "item_id": pa.string(),
        "score": pa.float32(),
        SPONSORED: pa.bool_(),
    }
    schema = pa.schema([(name, types[name]) for name in columns])
    with parquet_file(out, schema) as file:
        file.write_table(pa.table(columns, schema=schema))
