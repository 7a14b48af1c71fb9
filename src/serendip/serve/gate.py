"""The gate between requests and the engine: admission, one deadline, one list of fallbacks.

- Reads wait in a bounded room (``waiting_room``) and are computed one after the other by one
  thread: the interpreter runs one at a time, and several that take turns finish all of them later.
  Only where reads wait for the server of a database several are computed at once. Fallbacks, and
  files that are passed on, have rooms and threads of their own.
- An answer has one deadline, waiting included; what comes beyond it is refused (load shedding).
  Where it is late or fails, the ways to answer from less are tried in order, in spare threads, each
  with half as much time again: at the default of 5 seconds the last one ends after 10.
- SQLite allows one writer at a time, so there is one writer thread with a bounded queue. No read
  waits for a write. If another process locks the database for longer than the busy timeout, the
  waiting write and all writes queued behind it are refused: none waits longer than that.
- Group commit: a sync of the disk takes as long as storing a hundred events. So a transaction
  stores the oldest post of events and then, of those that wait and those that come while it stores,
  the smallest ones: a single event waits for no queue of large posts. Each client has its order: it
  is told of a post before it can send what comes after it.
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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from serendip.errors import (
    ArtefactError,
    BusyError,
    LateError,
    SerendipError,
    StorageError,
)
from serendip.runtime.time_limit import time_limit
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.limits import MAX_WAITING_WRITES
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.telemetry.logs import FailureLog, current_request
from serendip.serve.waiting_room import WaitingCall, WaitingRoom

if TYPE_CHECKING:
    from serendip.data.events.event import Event
    from serendip.engine.engine import Engine

_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

READERS, SPARE, FILES = 4, 2, 2
"""Threads for reads where they wait for other processes, for fallbacks, and for files."""

RUNG_DEADLINES = 0.5
"""Deadlines after which a fallback is late, too, and the next one is tried."""

HUNG_DEADLINES, HUNG_WRITE_DEADLINES = 4.0, 24.0
"""Deadlines after which a read, or a write, that still runs hangs."""

MAX_EVENTS_AT_ONCE = 200
"""Events of one transaction, unless its oldest post alone has more: two batches of a hundred, so
that the next ones are read while these are stored."""

_RETRY_S = 1.0
"""Seconds until an engine that could not read the store tries again."""


class EngineGate:
    """Calls the engine for requests.

    Args:
        holder: of the current engine.
        options: with the limits of requests.
        waiting_writes: number of writes that may wait, besides the running one.
    """

    def __init__(
        self,
        holder: EngineHolder,
        options: ServerOptions = LOCAL,
        waiting_writes: int = MAX_WAITING_WRITES,
    ) -> None:
        self.holder, self._deadline_s = holder, options.deadline_s
        readers, most = READERS if options.waits_for_others else 1, options.waiting_requests
        self._readers = WaitingRoom(most, holder.shared, threads=readers, name="reader")
        self._spare = WaitingRoom(most, threads=SPARE, name="spare")
        self._files = WaitingRoom(most, threads=FILES, name="file-reader")
        self._waiting_writes = waiting_writes
        self._write_places = threading.BoundedSemaphore(waiting_writes + 1)
        self._writes = queue.SimpleQueue[Callable[[], None]]()
        self._writes_since = math.inf
        threading.Thread(target=self._write_all, name="writer", daemon=True).start()
        self._posts = list[_EventPost]()
        self._locked_at = self._unreadable_until = -math.inf
        self._failures = FailureLog(_log)
        holder.is_hung = self._is_hung

    def turn_away(self) -> bool:
        """Whether a read that has not been looked at yet is refused, as too many wait."""
        return self._readers.turn_away()

    async def read(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run a read-only ``call`` with the current engine.

        Raises:
            OverloadError: too many reads wait, or this one has waited too long.
            ClientGoneError: the client hung up while it waited.
            LateError: it takes too long; a call that has begun goes on, and its result is dropped.
        """
        return await self._compute_in(self._readers, call, self._deadline_s)

    async def read_file(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """``read`` for a file that is passed on, such as a picture, in threads of its own."""
        return await self._compute_in(self._files, call, self._deadline_s)

    async def read_or(
        self, call: Callable[[Engine], ResultT], fallbacks: Sequence[Callable[[Engine], ResultT]]
    ) -> ResultT:
        """``read``, or if that is late or fails, the first of the fallbacks that has an answer.

        All errors of ``serendip.errors`` but those of artefacts, time and storage are raised as
        they are. Failures of one type are logged once a minute.

        Args:
            call: as of ``read``.
            fallbacks: at least one answer in its place, the best first; each needs less than the
                one before.

        Raises:
            SerendipError: as ``read``; or that of the last fallback.
        """
        try:
            return await self.read(call)
        except Exception as error:  # noqa: BLE001 - whatever fails, a fallback does without it
            self._survive(error)
        deadline_s = RUNG_DEADLINES * self._deadline_s
        for rung in fallbacks[:-1]:
            try:
                return await self._compute_in(self._spare, rung, deadline_s)
            except Exception as error:  # noqa: BLE001 - the next one may have an answer
                self._survive(error)
        return await self._compute_in(self._spare, fallbacks[-1], deadline_s)

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: too many writes wait, or another process holds the database.
        """
        self._take_place()
        context, came = copy_context(), time.monotonic()
        waiting = WaitingCall(lambda: self._write(call, came, context))

        def write() -> None:
            if waiting.result.set_running_or_notify_cancel():
                waiting()

        return await self._wait_for_writer(write, waiting.result)

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in one transaction with others that wait; the number of new ones.

        Raises:
            BusyError: as ``write``.
            SerendipError: as ``add_events`` of the engine.
        """
        self._take_place()
        post = _EventPost(events, copy_context())
        self._posts.append(post)
        return await self._wait_for_writer(self._write_posts, post.stored)

    def _is_hung(self) -> bool:
        hung_s, hung_write_s = (
            HUNG_DEADLINES * self._deadline_s,
            HUNG_WRITE_DEADLINES * self._deadline_s,
        )
        is_write_hung = time.monotonic() - self._writes_since > hung_write_s
        return is_write_hung or self._readers.is_hung(hung_s) or self._spare.is_hung(hung_s)

    def _take_place(self) -> None:
        if not self._write_places.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")

    async def _wait_for_writer(self, write: Callable[[], None], result: Future[ResultT]) -> ResultT:
        result.add_done_callback(lambda _: self._write_places.release())
        self._writes.put(write)
        return await asyncio.wrap_future(result)

    def _write_all(self) -> None:
        while True:
            write = self._writes.get()
            self._writes_since = time.monotonic()
            write()
            self._writes_since = math.inf
            del write

    def _survive(self, error: Exception) -> None:
        """Log an error that a fallback helps against, and raise any other one."""
        if isinstance(error, SerendipError) and not isinstance(
            error, ArtefactError | LateError | StorageError
        ):
            raise error
        self._failures.write("answering from less", error)

    async def _compute_in(
        self, room: WaitingRoom, call: Callable[[Engine], ResultT], deadline_s: float
    ) -> ResultT:
        """Compute a call in a thread of a room, in the context of the request, by a deadline."""
        context, came = copy_context(), time.monotonic()
        end, is_gone = came + deadline_s, current_request.get().is_gone
        waiting = WaitingCall(lambda: context.run(self._compute, call, end), is_gone, came)
        room.join(waiting)
        try:
            async with asyncio.timeout(deadline_s):
                result: ResultT = await asyncio.wrap_future(waiting.result)
                return result
        except TimeoutError:
            if waiting.result.done() and not waiting.result.cancelled():
                ended: ResultT = waiting.result.result()  # just now, or the call raised this
                return ended
            raise LateError("the answer takes too long.", "Try again in a moment.") from None
        finally:
            room.leave(waiting)

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
        if not self._posts:
            return
        first, taken = self._posts[0], list[_EventPost]()
        stored: Sequence[int | BaseException]
        try:
            stored = self._write(
                lambda engine: engine.add_event_groups(self._take_posts(taken)),
                first.queued_at,
                first.context,
            )
        except BaseException as error:  # noqa: BLE001 - who waits for the post raises it
            if not taken:  # it has failed before it asked for one
                next(self._take_posts(taken), None)
            stored = [error] * len(taken)
        for post, result in zip(taken, stored, strict=True):
            if isinstance(result, BaseException):
                post.stored.set_exception(result)
            else:
                post.stored.set_result(result)

    def _take_posts(self, taken: list[_EventPost]) -> Iterator[Sequence[Event]]:
        """The events of the posts of one transaction, each when it is asked for.

        Only the writer thread takes posts; others add some at the end meanwhile.

        Args:
            taken: gets the posts, without cancelled ones.
        """
        post, left = self._posts.pop(0) if self._posts else None, MAX_EVENTS_AT_ONCE
        while post is not None:
            if post.stored.set_running_or_notify_cancel():
                taken.append(post)
                yield post.events
                left -= len(post.events)
            fitting = (post for post in list(self._posts) if len(post.events) <= left)
            post = min(fitting, key=lambda post: len(post.events), default=None)
            if post is not None:
                self._posts.remove(post)


@dataclass(frozen=True, slots=True, eq=False)
class _EventPost:
    """Events that were posted together: stored all or none."""

    events: Sequence[Event]
    context: Context
    queued_at: float = field(default_factory=time.monotonic)
    stored: Future[int] = field(default_factory=Future)
