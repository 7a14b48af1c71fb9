"""The engine in force, and its replacement without a failed request.

There is one reference. A request leases it for its whole life, so one answer never mixes two
generations; a replaced engine is closed when its last lease ends. What was written through it while
the next one was opened, or later by a request that still leased it, the engine in force reads from
the store before that request is answered.

Runs engine calls beside the event loop; no read waits for a write, as each has its own threads.

SQLite has one writer at a time, so one thread writes; more would only wait for each other. Few may
wait in line: more are refused at once. Where another process holds the database for longer than a
write waits, that one is refused and the line behind it, too, so that none waits longer than that.
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


def still_loading() -> NotTrainedError:
    """The error while there is no engine."""
    return NotTrainedError("the service is still loading.", "Try again in a moment.")


@dataclass(slots=True, eq=False)
class _Slot:
    engine: EngineProtocol
    leases: int = 0
    retired: bool = False


class EngineHolder:
    """Holds the engine that answers, and what is known of its state; thread-safe.

    ``failed_loads`` counts openings that failed, ``refused_generation`` names the published one
    that cannot be opened, ``storage_problem`` says why a write would fail; both are empty where all
    is well. They are as of the follower's last look, so reading them costs nothing.
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
        """True once an engine answers."""
        return self._slot is not None

    @property
    def generation(self) -> str:
        """Name of the generation in force; empty while there is none."""
        slot = self._slot
        return slot.engine.generation if slot else ""

    @property
    def stats(self) -> Mapping[str, int | float | str]:
        """Counts of the engine in force, which it has in memory; none while there is none."""
        slot = self._slot
        return slot.engine.stats() if slot else {}

    @property
    def is_degraded(self) -> bool:
        """True while it answers, but not from what is published, or without taking writes."""
        return bool(self.refused_generation or self.storage_problem)

    @contextmanager
    def lease(self, writes: bool = True) -> Iterator[EngineProtocol]:
        """The engine in force; it stays open until the lease ends.

        Args:
            writes: whether the next engine may have to catch up with what is done in the lease. A
                read need not wait for that, as other writes may be under way.

        Raises:
            NotTrainedError: no engine is loaded yet.
        """
        with self._lock:
            slot = self._slot
            if slot is None:
                raise still_loading()
            slot.leases += 1
        try:
            yield slot.engine
        finally:
            self._release(slot, writes)

    def swap(self, engine: EngineProtocol) -> None:
        """Answer from ``engine`` from now on; the old one ends with its last request."""
        self._replace(_Slot(engine))

    def look_at_storage(self) -> None:
        """Learn whether writes would go through now; what has changed is logged."""
        try:
            with self.lease() as engine:
                problem = engine.storage_problem()
        except NotTrainedError:
            return
        if problem and problem != self.storage_problem:
            _log.error("writes are refused, reads go on: %s", problem)
        elif self.storage_problem and not problem:
            _log.info("writes are taken again")
        self.storage_problem = problem

    def catch_up_if_behind(self) -> None:
        """Read what was stored, where that failed before."""
        if self._is_behind:
            self._catch_up()

    def close(self) -> None:
        """Close the engine when its last request ends."""
        self._replace(None)

    def _replace(self, slot: _Slot | None) -> None:
        with self._lock:
            old, self._slot = self._slot, slot
            if old is None:
                return
            old.retired = True
            old.leases += 1  # ours: it must not close before the new one has caught up
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
        """Let the engine in force read what was written through the ones before it.

        A failure is no failure of the request that ends here, as its write is stored: the watch
        tries again.
        """
        self._is_behind = False  # before the try: a failure meanwhile in another thread must stay
        try:
            with self.lease() as engine:
                engine.catch_up()
        except NotTrainedError:  # nothing answers any more
            return
        except Exception:  # noqa: BLE001 - whatever it is, the stored changes are read later
            self._is_behind = True
            _log.exception("the stored changes could not be read yet")


ResultT = TypeVar("ResultT")

READERS = 4


class EnginePool:
    """Threads that call the engine: a few for reads, one for writes.

    Args:
        holder: of the engine in force.
        waiting_writes: this many may wait for the one that is being written.
    """

    def __init__(self, holder: EngineHolder, waiting_writes: int = MAX_WAITING_WRITES) -> None:
        self.holder = holder
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting_writes = waiting_writes
        self._places = threading.BoundedSemaphore(waiting_writes + 1)
        self._found_locked = -math.inf

    async def read(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """``call``, which writes nothing, with the engine in force; that stays open meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    async def write(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """``call`` with the engine in force, after all writes that came before it.

        Raises:
            BusyError: too many writes wait already, or others hold the database.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")
        future = self._writer.submit(self._write, call, time.monotonic())
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def _read(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        with self.holder.lease(writes=False) as engine:
            return call(engine)

    def _write(self, call: Callable[[EngineProtocol], ResultT], came: float) -> ResultT:
        if came <= self._found_locked:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                return call(engine)
        except BusyError:
            self._found_locked = time.monotonic()
            raise
