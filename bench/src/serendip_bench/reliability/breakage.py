"""Variants of the product that are broken on purpose, while a ``with`` block runs.

Each takes away one thing that a promise rests on. They are for negative controls only.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from serendip.data.events.event import Event
from serendip.data.store.sqlite import SqliteDatabase
from serendip.data.store.store import Store
from serendip.engine.artefacts import generations
from serendip.errors import DataError
from serendip.runtime import versions
from serendip.serve import gate
from serendip.serve.api import strict_route
from serendip.serve.engine_holder import EngineHolder

_LATER_S = 0.1


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute, which must take the arguments of the one that it replaces."""
    kept = getattr(owner, name)
    if callable(kept):
        inspect.signature(value).bind(*inspect.signature(kept).parameters)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def commit_without_sync() -> AbstractContextManager[None]:
    """SQLite syncs its log at checkpoints only (``synchronous=NORMAL``)."""
    connect = SqliteDatabase._open_by

    def connect_fast(self: SqliteDatabase, query: str, *pragmas: str) -> Any:
        kept = (pragma for pragma in pragmas if not pragma.startswith("synchronous"))
        return connect(self, query, *kept, "synchronous=NORMAL")

    return _replaced(SqliteDatabase, "_open_by", connect_fast)


def rename_without_sync() -> AbstractContextManager[None]:
    """No folder is synced, so that a new name may be lost."""
    sync = os.fsync

    def sync_file(handle: int) -> None:
        if not Path(f"/proc/self/fd/{handle}").is_dir():
            sync(handle)

    return _replaced(os, "fsync", sync_file)


def write_without_sync() -> AbstractContextManager[None]:
    """The files of generations are not synced before their names are."""

    def skip(folder: Path) -> None:
        """Sync nothing."""

    return _replaced(versions, "flush_tree", skip)


def commit_each_event() -> AbstractContextManager[None]:
    """Each event of a batch has a transaction of its own."""
    put = Store.put_event_groups

    def put_each(self: Store, groups: Iterable[Iterable[Event]]) -> list[int | DataError]:
        return [sum(count(put(self, [[one]])) for one in events) for events in groups]

    def count(stored: list[int | DataError]) -> int:
        return sum(one for one in stored if isinstance(one, int))

    return _replaced(Store, "put_event_groups", put_each)


def acknowledge_before_commit() -> AbstractContextManager[None]:
    """Events are stored a moment after they are acknowledged."""
    put = Store.put_event_groups

    def put_later(self: Store, groups: Iterable[Iterable[Event]]) -> list[int | DataError]:
        rows = [list(events) for events in groups]
        threading.Timer(_LATER_S, put, (self, rows)).start()
        return [len(events) for events in rows]

    return _replaced(Store, "put_event_groups", put_later)


def close_before_opening() -> AbstractContextManager[None]:
    """A service closes its generation before it opens the next one."""
    open_published = EngineHolder._open_published

    def close_first(self: EngineHolder, now: float) -> None:
        if self._published.current() not in ("", self.generation):
            self.swap(None)
        open_published(self, now)

    return _replaced(EngineHolder, "_open_published", close_first)


@contextmanager
def skip_checksums() -> Iterator[None]:
    """Files are not compared with their checksums."""

    def skip(*_: Any) -> None:
        """Compare nothing."""

    def unseal(text: bytes) -> Any:
        return json.loads(text)

    with ExitStack() as stack:
        stack.enter_context(_replaced(versions.Versions, "_compare", skip))
        stack.enter_context(_replaced(versions, "unseal", unseal))
        yield


def skip_array_checks() -> AbstractContextManager[None]:
    """Arrays are not looked at for values that are no numbers."""
    return _replaced(generations, "require_no_nan", lambda folder: None)


def misread_full_disk() -> AbstractContextManager[None]:
    """An error for want of room is one of the disk."""
    return _replaced(SqliteDatabase, "_is_full_error", lambda self, name: False)


@contextmanager
def compute_everything() -> Iterator[None]:
    """A service computes whatever it is asked for, however long it waits."""
    with (
        _replaced(gate.WaitingRoom, "_is_full", lambda self, now: False),
        _replaced(gate, "BURST_S", math.inf),
        _replaced(asyncio, "timeout", lambda seconds: asyncio.timeout_at(None)),
    ):
        yield


def ignore_other_services() -> AbstractContextManager[None]:
    """A service never looks for what others wrote to the store."""
    return _replaced(EngineHolder, "with_engine", lambda self, read: None)


def parse_anything() -> AbstractContextManager[None]:
    """Bodies are parsed by Python's own parser, which takes NaN and halves of characters."""
    return _replaced(strict_route, "parse", json.loads)


BREAKAGES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "none": nullcontext,
    "commit": commit_without_sync,
    "rename": rename_without_sync,
    "write": write_without_sync,
}
