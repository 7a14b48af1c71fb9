"""The gate between requests and the engine: admission, one deadline, one list of fallbacks.

- Reads wait in a bounded room (``waiting_room``) and are computed one after the other by one
  thread: the interpreter runs one at a time, and several that take turns finish all of them later.
  Only where reads wait for the server of a database several are computed at once.
- An answer has one deadline, waiting included. Where it is late or fails, the ways to answer from
  less are tried in order, in spare threads, with as much time again.
- SQLite allows one writer at a time, so there is one writer thread with a bounded queue; posts of
  events share transactions (``event_queue``). No read waits for a write. If another process locks
  the database for longer than the busy timeout, the waiting write and all writes queued behind it
  are refused: none waits longer than that.
- A thread that hangs cannot be ended. A process whose threads hang says so (``is_hung``), and is
  replaced by whoever started it; the threads are daemons, so that it can end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from serendip.errors import (
    ArtefactError,
    BusyError,
    LateError,
    SerendipError,
    StorageError,
)
from serendip.runtime.time_limit import time_limit
from serendip.serve.current_request import current_request
from serendip.serve.engine_holder import EngineHolder, loading_error
from serendip.serve.event_queue import EventPost, EventQueue
from serendip.serve.limits import LIMITS, MAX_WAITING_WRITES, ServiceLimits
from serendip.serve.telemetry.logs import FailureLog
from serendip.serve.waiting_room import WaitingCall, WaitingRoom, overload_error

if TYPE_CHECKING:
    from serendip.data.events.event import Event
    from serendip.engine.engine import Engine

_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

READERS, SPARE, FILES = 4, 2, 2
"""Threads for reads where they wait for other processes, for fallbacks, and for files."""

RUNG_DEADLINES = 0.25
"""Deadlines after which a fallback is late, too, and the next one is tried beside it."""

HUNG_DEADLINES, HUNG_WRITE_DEADLINES = 4.0, 24.0
"""Deadlines after which a read, or a write, that still runs hangs."""

_RETRY_S = 1.0
"""Seconds until an engine that could not read the store tries again."""


class EngineGate:
    """Calls the engine for requests.

    Args:
        holder: of the current engine.
        limits: of requests.
        waiting_writes: number of writes that may wait, besides the running one.
    """

    def __init__(
        self,
        holder: EngineHolder,
        limits: ServiceLimits = LIMITS,
        waiting_writes: int = MAX_WAITING_WRITES,
    ) -> None:
        self.holder, self._limits = holder, limits
        self._deadline_s = limits.deadline_s
        hung_s, most = HUNG_DEADLINES * limits.deadline_s, limits.waiting_requests
        self._room = WaitingRoom(most, holder.shared)
        readers = READERS if limits.waits_for_others else 1
        self._readers = _Threads("reader", readers, hung_s, self._room.take)
        self._spare = _Queue("spare", SPARE, hung_s, most)
        self._files = _Queue("file-reader", FILES, math.inf, most)
        self._writer = _Queue("writer", 1, HUNG_WRITE_DEADLINES * limits.deadline_s)
        self._waiting_writes = waiting_writes
        self._write_places = threading.BoundedSemaphore(waiting_writes + 1)
        self._posts = EventQueue()
        self._locked_at = self._unreadable_until = -math.inf
        self._failures = FailureLog(_log)
        holder.find_hung = self._find_hung

    def turn_away(self) -> bool:
        """Whether a read that has not been looked at yet is refused, as too many wait."""
        return self._room.turn_away()

    async def read(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run a read-only ``call`` with the current engine.

        Raises:
            OverloadError: too many reads wait, or this one has waited too long.
            ClientGoneError: the client hung up while it waited.
            LateError: it takes too long; a call that has begun goes on, and its result is dropped.
        """
        is_gone = current_request.get().is_gone
        waiting = WaitingCall(self._in_context(call), is_gone, time.monotonic())
        self._room.join(waiting)
        self._readers.start()
        try:
            return await self._wait_for(waiting.result)
        finally:
            self._room.leave(waiting)

    async def read_file(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """``read`` for a file that is passed on, such as a picture, in threads of its own."""
        return await self._wait_for(self._files.put(self._in_context(call)))

    async def read_or(
        self, call: Callable[[Engine], ResultT], fallbacks: Sequence[Callable[[Engine], ResultT]]
    ) -> ResultT:
        """``read``, or if that is late or fails, the first of the fallbacks that has an answer.

        Errors that a client can mend are raised as they are. Failures of one type are logged once a
        minute.

        Args:
            call: as of ``read``.
            fallbacks: answers in its place, the best first; each needs less than the one before.

        Raises:
            SerendipError: as ``read``; or that of the last fallback.
        """
        try:
            return await self.read(call)
        except Exception as error:  # noqa: BLE001 - whatever fails, a fallback does without it
            self._survive(error)
        return await self._fall_back(fallbacks)

    async def _fall_back(self, rungs: Sequence[Callable[[Engine], ResultT]]) -> ResultT:
        """Try rungs in order: the next one once one before it has failed or takes too long."""
        waiting, running = list(rungs), list[asyncio.Task[ResultT]]()
        failure: Exception = loading_error()
        try:
            while waiting or running:
                if waiting:
                    answer = self._wait_for(self._spare.put(self._in_context(waiting.pop(0))))
                    running.append(asyncio.ensure_future(answer))
                patience_s = RUNG_DEADLINES * self._deadline_s if waiting else None
                await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    running.remove(task)
                    try:
                        return task.result()
                    except Exception as error:  # noqa: BLE001 - another one may have an answer
                        self._survive(error)
                        failure = error
            raise failure
        finally:
            for task in running:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # it has ended, however it did, and nobody waits for it

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: too many writes wait, or another process holds the database.
        """
        self._take_place()
        context, queued_at = copy_context(), time.monotonic()
        written = self._writer.put(lambda: self._write(call, queued_at, context))
        written.add_done_callback(lambda _: self._write_places.release())
        return await asyncio.wrap_future(written)

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in one transaction with others that wait; the number of new ones.

        Raises:
            BusyError: as ``write``.
            SerendipError: as ``add_events`` of the engine.
        """
        self._take_place()
        post = EventPost(events, copy_context())
        post.stored.add_done_callback(lambda _: self._write_places.release())
        self._posts.join(post)
        self._writer.put(self._write_posts)
        return await asyncio.wrap_future(post.stored)

    def _find_hung(self) -> bool:
        return any(threads.is_hung for threads in (self._readers, self._spare, self._writer))

    def _take_place(self) -> None:
        if not self._write_places.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")

    def _survive(self, error: Exception) -> None:
        """Log an error that a fallback helps against, and raise any other one."""
        if isinstance(error, SerendipError) and not isinstance(
            error, ArtefactError | LateError | StorageError
        ):
            raise error
        self._failures.write("answering from less", error)

    async def _wait_for(self, result: Future[ResultT]) -> ResultT:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(result)
        except TimeoutError:
            if result.done() and not result.cancelled():
                return result.result()  # it has just ended, or it is the call that raised this
            raise LateError("the answer takes too long.", "Try again in a moment.") from None

    def _in_context(self, call: Callable[[Engine], ResultT]) -> Callable[[], ResultT]:
        """The call with an engine, in the context and with the deadline of the present request."""
        context, end = copy_context(), time.monotonic() + self._deadline_s
        return lambda: context.run(self._compute, call, end)

    def _compute(self, call: Callable[[Engine], ResultT], end: float) -> ResultT:
        with time_limit(time.monotonic(), end), self.holder.lease() as engine:
            if engine.item_version < self.holder.shared.acknowledged:
                self._catch_up(engine)
            return call(engine)

    def _catch_up(self, engine: Engine) -> None:
        """Read the writes that were acknowledged elsewhere.

        If they cannot be read, this answer and those of the next second go without them.
        """
        if time.monotonic() < self._unreadable_until:
            return
        try:
            engine.catch_up()
        except Exception:  # noqa: BLE001 - a read does not fail because of another's write
            self._unreadable_until = time.monotonic() + _RETRY_S
            _log.exception("acknowledged writes could not be read yet")

    def _write(
        self, call: Callable[[Engine], ResultT], queued_at: float, context: Context
    ) -> ResultT:
        if queued_at <= self._locked_at:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                result = context.run(call, engine)
                self.holder.shared.acknowledge(engine.item_version)
                return result
        except BusyError:
            self._locked_at = time.monotonic()
            raise

    def _write_posts(self) -> None:
        """Store the posts of one transaction; none may be left, as others stored them already."""
        posts = self._posts.take()
        first = next(posts, None)
        if first is None:
            return
        taken = list[EventPost]()

        def groups() -> Iterator[Sequence[Event]]:
            for post in chain([first], posts):
                taken.append(post)
                yield post.events

        try:
            results = self._write(
                lambda engine: engine.add_event_groups(groups()), first.queued_at, first.context
            )
            answered = list(zip(taken, results, strict=True))
        except BaseException as error:  # noqa: BLE001 - who waits for the post raises it
            for post in taken or [first]:
                post.stored.set_exception(error)
            return
        for post, result in answered:
            post.answer(result)


class _Threads:
    """Daemon threads that do what they take, from the first call on."""

    def __init__(
        self, name: str, number: int, hung_s: float, take: Callable[[], Callable[[], None]]
    ) -> None:
        self._name, self._number, self._hung_s, self._take = name, number, hung_s, take
        self._begun = dict[int, float]()  # of the threads that do something
        self._has_started = False

    def start(self) -> None:
        """Start the threads, in the event loop, unless they run."""
        if self._has_started:
            return
        self._has_started = True
        for number in range(self._number):
            name = f"{self._name}_{number}"
            threading.Thread(target=self._work, args=(number,), name=name, daemon=True).start()

    @property
    def is_hung(self) -> bool:
        """Whether all threads hang."""
        late = time.monotonic() - self._hung_s
        return sum(begun < late for begun in list(self._begun.values())) == self._number

    def _work(self, number: int) -> None:
        while True:
            do = self._take()
            self._begun[number] = time.monotonic()
            do()
            del do, self._begun[number]


class _Queue(_Threads):
    """Threads with a queue, the oldest first."""

    def __init__(self, name: str, number: int, hung_s: float, most: float = math.inf) -> None:
        self._waiting, self._most = queue.SimpleQueue[WaitingCall](), most
        super().__init__(name, number, hung_s, self._take_next)

    def put(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Let a thread run a call; one that is cancelled before is not run.

        Raises:
            OverloadError: too many wait.
        """
        if self._waiting.qsize() >= self._most:
            raise overload_error("more is asked for than can be computed.")
        waiting = WaitingCall(call, lambda: False, 0.0)
        self._waiting.put(waiting)
        self.start()
        return waiting.result

    def _take_next(self) -> WaitingCall:
        waiting = self._waiting.get()
        while not waiting.result.set_running_or_notify_cancel():
            waiting = self._waiting.get()
        return waiting
