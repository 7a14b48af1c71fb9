"""Runs engine calls beside the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serendip.serve.engine_api import Engine
from serendip.serve.state import EngineHolder

ResultT = TypeVar("ResultT")

MAX_THREADS = 4


class Workers:
    """A few threads that call the engine, so that slow calls keep nobody else waiting."""

    def __init__(self, holder: EngineHolder, threads: int = MAX_THREADS) -> None:
        self.holder = holder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="engine")

    async def run(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """``call`` with the engine in force, which stays open until it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._leased, call)

    def _leased(self, call: Callable[[Engine], ResultT]) -> ResultT:
        with self.holder.lease() as engine:
            return call(engine)
