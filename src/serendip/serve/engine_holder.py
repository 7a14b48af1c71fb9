"""The current engine, its replacement without failed requests, and the threads that call it.

A request leases the engine from start to end, so one answer never mixes two generations. A replaced
engine is closed when its last lease ends. Writes through it, while the next engine was opened or
later by a request with a lease, are in the store; the current engine reads them from there before
that request is answered.

Reads and writes have separate threads, so no read waits for a write. SQLite allows one writer at a
time, so there is one writer thread with a bounded queue; further writes are refused at once. If
another process locks the database for longer than the busy timeout, the waiting write and all
writes queued behind it are refused: none waits longer than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from serendip.errors import BusyError, NotTrainedError
from serendip.serve.limits import MAX_WAITING_WRITES

if TYPE_CHECKING:
    from serendip.serve.engine_protocol import EngineProtocol

_log = logging.getLogger(__name__)


def loading_error() -> NotTrainedError:
    """The error of requests before an engine is loaded."""
    return NotTrainedError("the service is still loading.", "Try again in a moment.")


@dataclass(slots=True, eq=False)
class _Slot:
    """An engine with the number of its leases."""

    engine: EngineProtocol
    leases: int = 0
    retired: bool = False


class EngineHolder:
    """Holds the current engine and the state of the service; thread-safe.

    ``failed_loads`` counts failed attempts to open a generation; ``refused_generation`` names the
    published generation that cannot be opened; ``storage_problem`` says why a write would fail.
    The last two are empty if all is well. ``Follower`` sets them in its checks, so reading them
    costs nothing.
    """

    def __init__(self) -> None:
        self._slot: _Slot | None = None
        self._lock = threading.Lock()
        self._is_behind = False
        self.failed_loads = 0
        self.refused_generation = ""
        self.storage_problem = ""

    @property
    def is_ready(self) -> bool:
        """True once an engine is loaded."""
        return self._slot is not None

    @property
    def generation(self) -> str:
        """Name of the current generation; empty before the first."""
        slot = self._slot
        return slot.engine.generation if slot else ""

    @property
    def stats(self) -> Mapping[str, int | float | str]:
        """Statistics of the current engine, from memory; empty before the first engine."""
        slot = self._slot
        return slot.engine.stats() if slot else {}

    @property
    def is_degraded(self) -> bool:
        """True if the published generation was refused or writes fail."""
        return bool(self.refused_generation or self.storage_problem)

    @contextmanager
    def lease(self, writes: bool = True) -> Iterator[EngineProtocol]:
        """Lease the current engine; it stays open until the lease ends.

        Args:
            writes: whether the call may write. If so, and the engine was replaced meanwhile, the
                current engine catches up with the store before the lease ends.

        Raises:
            NotTrainedError: no engine is loaded yet.
        """
        with self._lock:
            slot = self._slot
            if slot is None:
                raise loading_error()
            slot.leases += 1
        try:
            yield slot.engine
        finally:
            self._release(slot, writes)

    def swap(self, engine: EngineProtocol) -> None:
        """Make ``engine`` the current one; the old one closes with its last lease."""
        self._replace(_Slot(engine))

    def check_storage(self) -> None:
        """Update ``storage_problem`` from the engine and log changes."""
        try:
            with self.lease() as engine:
                problem = engine.storage_problem()
        except NotTrainedError:
            return
        if problem and problem != self.storage_problem:
            _log.error("writes are refused, reads go on: %s", problem)
        elif self.storage_problem and not problem:
            _log.info("writes are accepted again")
        self.storage_problem = problem

    def catch_up_if_behind(self) -> None:
        """Retry a catch-up that failed."""
        if self._is_behind:
            self._catch_up()

    def close(self) -> None:
        """Remove the engine; it closes with its last lease."""
        self._replace(None)

    def _replace(self, slot: _Slot | None) -> None:
        with self._lock:
            old, self._slot = self._slot, slot
            if old is None:
                return
            old.retired = True
            old.leases += 1  # our own lease: it must not close before the new one has caught up
        self._release(old, catches_up=True)

    def _release(self, slot: _Slot, catches_up: bool) -> None:
        if slot.retired and catches_up:
            self._catch_up()
        with self._lock:
            slot.leases -= 1
            finished = slot.retired and slot.leases == 0
        if finished:
            slot.engine.close()

    def _catch_up(self) -> None:
        """Let the current engine read the writes of its predecessors from the store.

        A failure does not fail the request that ends here, as its write is stored; the follower
        retries.
        """
        self._is_behind = False  # before the try: a failure meanwhile in another thread must stay
        try:
            with self.lease() as engine:
                engine.catch_up()
        except NotTrainedError:  # the holder is closed
            return
        except Exception:  # noqa: BLE001 - the follower retries after any failure
            self._is_behind = True
            _log.exception("the stored changes could not be read yet")


ResultT = TypeVar("ResultT")

READERS = 4


class EnginePool:
    """Thread pools that call the engine: a few threads for reads, one for writes.

    Args:
        holder: of the current engine.
        waiting_writes: maximum number of queued writes, besides the running one.
    """

    def __init__(self, holder: EngineHolder, waiting_writes: int = MAX_WAITING_WRITES) -> None:
        self.holder = holder
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting_writes = waiting_writes
        self._queue_slots = threading.BoundedSemaphore(waiting_writes + 1)
        self._locked_at = -math.inf

    async def read(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """Run a read-only ``call`` with the current engine, in a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    async def write(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: the queue is full, or another process holds the database.
        """
        if not self._queue_slots.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")
        future = self._writer.submit(self._write, call, time.monotonic())
        future.add_done_callback(lambda _: self._queue_slots.release())
        return await asyncio.wrap_future(future)

    def _read(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        with self.holder.lease(writes=False) as engine:
            return call(engine)

    def _write(self, call: Callable[[EngineProtocol], ResultT], queued_at: float) -> ResultT:
        if queued_at <= self._locked_at:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                return call(engine)
        except BusyError:
            self._locked_at = time.monotonic()
            raise
