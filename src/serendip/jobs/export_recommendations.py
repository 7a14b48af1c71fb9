"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.exploration import PROPENSITY
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.noted_export import NotedExport
from serendip.runtime.atomic_files import count_rows, open_parquet, require_writable
from serendip.runtime.progress import Progress

BATCH = 128
_NEEDED = {"query": "a text", "items": "an item"}


def recommend_all(
    workspace: Path,
    surface: str,
    k: int,
    out: Path,
    progress: Progress,
    country: str = "",
    device: str = "",
) -> dict[str, Any]:
    """Write ``user_id, rank, item_id, score`` for every user with events.

    A surface with ``MinValueConfig`` may write fewer than ``k`` rows for a user, or none. If the
    surface has sponsored positions, the column ``sponsored`` marks their rows; if it explores, the
    column ``propensity`` has the probability of each explored item at its rank, null elsewhere.

    Args:
        workspace: folder of the workspace.
        surface: that needs only a user.
        k: largest number of items per user, at least 1.
        out: Parquet file, written atomically.
        progress: of the users.
        country: of all requests; empty = that of each user.
        device: of all requests; empty = unknown.

    Returns:
        numbers of users and rows, number of users by number of items, and the generation.

    Raises:
        DataError: ``k`` is less than 1.
        UnsupportedError: there is no such surface, or it needs an item or a text.
        ConfigError: ``out`` cannot be written; checked before anything is computed.
        StorageError: ``out`` could not be written after the check.
    """
    if k < 1:
        raise DataError(f"k = {k} is less than 1.", "Give -k a number of items from 1 on.")
    require_writable(out)
    opened = Workspace.open(workspace)
    with closing(opened.open_store()) as store:
        export = NotedExport(opened, store, out)
        return _recommend_all(
            workspace, Request(surface, country=country, device=device), k, out, progress, export
        )


def _recommend_all(
    workspace: Path, request: Request, k: int, out: Path, progress: Progress, export: NotedExport
) -> dict[str, Any]:
    """``recommend_all`` for a request without a user."""
    surface = request.surface
    engine = Engine.open(workspace)
    try:
        _require_user_only(engine, surface)
        rows = _Rows()
        users = [user for user, _ in engine.users(limit=2**31 - 1)]
        starts = range(0, len(users), BATCH)
        for begin in progress.track(starts, f"{surface} for all users", len(starts)):
            part = users[begin : begin + BATCH]
            queries = engine.queries(replace(request, user_id=user) for user in part)
            for user, result in zip(part, engine.run(queries, surface), strict=True):
                best = result.items.take(np.arange(min(k, len(result.items))))
                rows.add(user, best, engine.item_ids(best.item_nums))
        _write(rows.columns, out, export)
        return {
            "users": len(users),
            "rows": count_rows(out),
            "users_by_items": {str(count): rows.lengths[count] for count in sorted(rows.lengths)},
            "generation": engine.generation,
            "out": str(out),
        }
    finally:
        engine.close()


class _Rows:
    """Columns of the file, and number of users by length of their list."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("user_id", "rank", "item_id", "score")
        }
        self.lengths: Counter[int] = Counter()

    def add(self, user: str, best: ItemList, item_ids: list[str]) -> None:
        """Add the list of a user."""
        self.lengths[len(best)] += 1
        self.columns["user_id"] += [user] * len(best)
        self.columns["rank"] += list(range(1, len(best) + 1))
        self.columns["item_id"] += item_ids
        self.columns["score"] += best.scores.tolist()
        if SPONSORED in best.fields:
            self.columns.setdefault(SPONSORED, []).extend(best.fields[SPONSORED].tolist())
        if PROPENSITY in best.fields:
            drawn = best.fields[PROPENSITY].astype(np.float64).tolist()
            known = [None if math.isnan(chance) else chance for chance in drawn]
            self.columns.setdefault(PROPENSITY, []).extend(known)


def _require_user_only(engine: Engine, surface: str) -> None:
    needs = engine.needs(surface)
    if needs:
        raise UnsupportedError(
            f"--batch does not support the surface {surface!r}, which needs {_NEEDED[needs]}.",
            "Use a surface that needs only a user, such as --surface home.",
        )


def _write(columns: dict[str, list[Any]], out: Path, export: NotedExport) -> None:
    import pyarrow as pa

    types = {
        "user_id": pa.string(),
        "rank": pa.int32(),
        "item_id": pa.string(),
        "score": pa.float32(),
        SPONSORED: pa.bool_(),
        PROPENSITY: pa.float64(),
    }
    schema = pa.schema([(name, types[name]) for name in columns])
    with open_parquet(out, schema, export.finish_users) as file:
        file.write_table(pa.table(columns, schema=schema))
