"""Variants of the product that are broken on purpose, while a ``with`` block runs.

Each takes away one thing that a promise rests on. They are for negative controls only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from serendip.data.log import segment
from serendip.data.store.sqlite_file import SqliteFile
from serendip.runtime import versions


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[Any]:
    """Another attribute; yields the one that it replaces."""
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield kept
    finally:
        setattr(owner, name, kept)


@contextmanager
def commit_without_sync() -> Iterator[None]:
    """SQLite syncs its log at checkpoints only (``synchronous=NORMAL``)."""
    connect = SqliteFile._connect

    def connect_fast(self: SqliteFile, query: str, *pragmas: str) -> Any:
        kept = (pragma for pragma in pragmas if not pragma.startswith("synchronous"))
        return connect(self, query, *kept, "synchronous=NORMAL")

    with _replaced(SqliteFile, "_connect", connect_fast):
        yield


@contextmanager
def rename_without_sync() -> Iterator[None]:
    """No folder is synced, so that a new name may be lost."""
    sync = os.fsync

    def sync_file(handle: int) -> None:
        if not Path(f"/proc/self/fd/{handle}").is_dir():
            sync(handle)

    with _replaced(os, "fsync", sync_file):
        yield


@contextmanager
def write_without_sync() -> Iterator[None]:
    """The files of segments and generations are not synced before their names are."""

    def skip(folder: Path) -> None:
        """Sync nothing."""

    with _replaced(segment, "flush_tree", skip), _replaced(versions, "flush_tree", skip):
        yield


BREAKAGES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "none": nullcontext,
    "commit": commit_without_sync,
    "rename": rename_without_sync,
    "write": write_without_sync,
}
