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
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from serendip.errors import (
    ArtefactError,
    BusyError,
    LateError,
    OverloadError,
    SerendipError,
    StorageError,
)
from serendip.runtime.budget import parse_duration
from serendip.runtime.time_limit import time_limit
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.limits import MAX_WAITING_WRITES
from serendip.serve.logs import FailureLog, current_request
from serendip.serve.server_options import LOCAL, ServerOptions
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
        self.holder, self._deadline_s = holder, parse_duration(options.config.deadline)
        readers = READERS if options.waits_for_others else 1
        most = max(1, options.config.waiting_requests // options.workers)
        self._readers = WaitingRoom(most, holder.shared, threads=readers, name="reader")
        self._spare = WaitingRoom(most, threads=SPARE, name="spare")
        self._files = WaitingRoom(most, threads=FILES, name="file-reader")
        self._writer = WaitingRoom(waiting_writes, threads=1, name="writer", sheds=False)
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
        half = RUNG_DEADLINES * self._deadline_s
        rungs = [(self._readers, call, self._deadline_s)]
        rungs += [(self._spare, fallback, half) for fallback in fallbacks]
        for rung in rungs[:-1]:
            try:
                return await self._compute_in(*rung)
            except Exception as error:  # noqa: BLE001 - the next one may have an answer
                self._survive(error)
        return await self._compute_in(*rungs[-1])

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: too many writes wait, or another process holds the database.
        """
        context, came = copy_context(), time.monotonic()
        waiting = WaitingCall(lambda: self._write(call, came, context))
        result: ResultT = await self._wait_for_writer(waiting)
        return result

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in one transaction with others that wait; the number of new ones.

        Raises:
            BusyError: as ``write``.
            SerendipError: as ``add_events`` of the engine.
        """
        post = _EventPost(lambda: self._store(post), events=events)
        stored: int = await self._wait_for_writer(post)
        return stored

    def _is_hung(self) -> bool:
        rooms = {self._readers: HUNG_DEADLINES, self._spare: HUNG_DEADLINES}
        rooms[self._writer] = HUNG_WRITE_DEADLINES
        return any(room.is_hung(share * self._deadline_s) for room, share in rooms.items())

    async def _wait_for_writer(self, call: WaitingCall) -> Any:
        try:
            self._writer.join(call)
        except OverloadError:
            waiting = f"{self._writer.length} writes are waiting."
            raise BusyError(waiting, "Try again in a moment.") from None
        return await asyncio.wrap_future(call.result)

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

    def _store(self, first: _EventPost) -> int:
        """Store a post in one transaction with others that wait; the number of its new events."""
        posts, results = [first], list[int | BaseException]()
        try:
            results += self._write(
                lambda engine: engine.add_event_groups(self._take_posts(posts)),
                first.came,
                first.context,
            )
        except BaseException as error:  # noqa: BLE001 - who waits for a post raises it
            results = [error] * len(posts)
        for post, result in zip(posts[1:], results[1:], strict=True):
            if isinstance(result, BaseException):
                post.result.set_exception(result)
            else:
                post.result.set_result(result)
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    def _take_posts(self, posts: list[_EventPost]) -> Iterator[Sequence[Event]]:
        """The events of the posts of one transaction, each when it is asked for.

        Args:
            posts: has the first one, and gets the others.
        """
        left = MAX_EVENTS_AT_ONCE

        def choose(waiting: Iterable[WaitingCall]) -> WaitingCall | None:
            posts = (call for call in waiting if isinstance(call, _EventPost))
            fitting = (post for post in posts if len(post.events) <= left)
            return min(fitting, key=lambda post: len(post.events), default=None)

        post: WaitingCall | None = posts[0]
        while isinstance(post, _EventPost):
            yield post.events
            left -= len(post.events)
            if isinstance(post := self._writer.withdraw(choose), _EventPost):
                posts.append(post)


@dataclass(slots=True, eq=False)
class _EventPost(WaitingCall):
    """Events that were posted together: stored all or none."""

    events: Sequence[Event] = ()
    context: Context = field(default_factory=copy_context)
