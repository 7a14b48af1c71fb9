"""Runs engine calls beside the event loop; no read waits for a write, as each has its own threads.

SQLite has one writer at a time, so one thread writes; more would only wait for each other. Few may
wait in line: more are refused at once. Where another process holds the database for longer than a
write waits, that one is refused and the line behind it, too, so that none waits longer than that.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serendip.errors import BusyError
from serendip.serve.engine_api import Engine
from serendip.serve.limits import MAX_WAITING_WRITES
from serendip.serve.state import EngineHolder

ResultT = TypeVar("ResultT")

READERS = 4


class Workers:
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

    async def read(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """``call``, which writes nothing, with the engine in force; that stays open meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """``call`` with the engine in force, after all writes that came before it.

        Raises:
            BusyError: too many writes wait already, or others hold the database.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")
        future = self._writer.submit(self._write, call, time.monotonic())
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def _read(self, call: Callable[[Engine], ResultT]) -> ResultT:
        with self.holder.lease(writes=False) as engine:
            return call(engine)

    def _write(self, call: Callable[[Engine], ResultT], came: float) -> ResultT:
        if came <= self._found_locked:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                return call(engine)
        except BusyError:
            self._found_locked = time.monotonic()
            raise
