"""The gate between requests and the engine: admission, one deadline, one list of fallbacks.

A service that computes everything it is asked for answers everybody too late once that is more than
it can compute. So reads wait in a bounded room and are computed one after the other by one thread:
the interpreter runs one at a time, and several that take turns finish all of them later.

- A burst may fill the room; a queue that stays may not (Nichols and Jacobson, 2012; Maurer, 2015):
  once the room has refused for ``PATIENCE_S`` without becoming half empty, one request may wait,
  until hardly more come than are computed, or nobody comes for a moment. How long a thread is idle
  would not tell: on a busy machine it waits for its processor. While one room of a service is
  small, all are: clients go where they are answered soon, if only to be refused.
- The oldest request is computed first; in a room that refuses, the newest, whose client is surely
  still there. What has waited for ``BURST_S``, or whose client has hung up, is not computed.
- An answer has one deadline, waiting included. Where it is late or fails, the ways to answer from
  less are tried in order, in spare threads, each with half as much time again.
- SQLite allows one writer at a time, so there is one writer thread with a bounded queue. If another
  process locks the database for longer than the busy timeout, the waiting write and all queued
  behind it are refused.
- Group commit: a sync of the disk takes as long as storing a hundred events. So a transaction
  stores the oldest post of events and then, of those that wait and those that come while it stores,
  the smallest ones. A client is told of a post before it can send what comes after it.
- A thread that hangs cannot be ended. A process whose threads hang says so (``is_hung``), and is
  replaced by whoever started it; the threads are daemons, so that it can end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from serendip.errors import (
    ArtefactError,
    BusyError,
    ClientGoneError,
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
from serendip.serve.shared_state import SharedState

if TYPE_CHECKING:
    from serendip.data.events.event import Event
    from serendip.engine.engine import Engine

_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

BURST_S = 2.0  # that a request waits at most
PATIENCE_S = 0.125  # for which a room refuses before it shrinks
# A room has its size again if at most so many came while so many were computed.
COMPUTED, CAME = 32, 40
# Seconds without a request after which a room has its size again, and without a refusal after which
# its oldest request is computed first.
QUIET_S = 0.2

# Threads for reads where they wait for the server of a database, for fallbacks, and for files.
READERS, SPARE, FILES = 4, 2, 2
RUNG_DEADLINES = 0.5  # after which a fallback is late, too, and the next one is tried
HUNG_DEADLINES, HUNG_WRITE_DEADLINES = 4.0, 24.0  # after which a running read, or write, hangs

# Of one transaction, unless its oldest post alone has more: two batches of a hundred, so that the
# next ones are read while these are stored.
MAX_EVENTS_AT_ONCE = 200
_SURVIVED = (ArtefactError, LateError, StorageError)  # errors that a fallback helps against
_RETRY_S = 1.0  # until an engine that could not read the store tries again


@dataclass(slots=True, eq=False)
class WaitingCall:
    """A request that waits to be computed.

    Args:
        compute: what is to be done, in a thread; an error that it returns is raised, too.
        is_gone: whether nobody waits for it any more.
        came: seconds of a monotonic clock.
        result: becomes what was computed, or the error.
        context: of the request.
    """

    compute: Callable[[], Any]
    is_gone: Callable[[], bool] = lambda: False
    came: float = field(default_factory=time.monotonic)
    result: Future[Any] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)

    def __call__(self) -> None:
        """Compute it."""
        try:
            self.settle(self.context.run(self.compute))
        except BaseException as error:  # noqa: BLE001 - who waits for the result raises it
            self.settle(error)

    def settle(self, result: Any) -> None:
        """Tell who waits the result, or the error."""
        if isinstance(result, BaseException):
            self.result.set_exception(result)
        else:
            self.result.set_result(result)


class WaitingRoom:
    """The requests of one worker that wait for one of some threads; thread-safe.

    Args:
        length: number of requests that may wait.
        shared: says when a room of the service that has shrunk refused last; None = no other room
            counts.
        clock: seconds of a monotonic clock.
        threads: number of threads, which begin with the first request.
        name: of the threads.
        sheds: whether those that wait may be refused; if not, the oldest is always the next.
    """

    def __init__(
        self,
        length: int,
        shared: SharedState | None = None,
        clock: Callable[[], float] = time.monotonic,
        threads: int = 0,
        name: str = "",
        sheds: bool = True,
    ) -> None:
        self.length, self._sheds = length, sheds
        self._shared, self._clock = shared or SharedState(), clock
        self._threads, self._name = threads, name
        self._begun = list[float]()  # by thread, when its request was begun
        self._waiting = deque[WaitingCall]()
        self._refuses_since = math.inf  # of a room that has not been half empty since
        self._refused_at = -math.inf
        self._has_shrunk = False
        self._came = self._computed = 0  # since it shrank, or was looked at last
        self._came_at = 0.0
        self._turn = threading.Condition(threading.Lock())

    def join(self, call: WaitingCall) -> None:
        """Let a request wait, or raise ``OverloadError`` if the room is full."""
        with self._turn:
            now = self._clock()
            if self._is_full(now):
                raise overload_error(f"{len(self._waiting)} requests are waiting to be computed.")
            self._came, self._came_at = self._came + 1, now
            self._waiting.append(call)
            self._turn.notify()
            for number in range(len(self._begun), self._threads):
                self._begun.append(math.inf)
                name = f"{self._name}_{number}"
                threading.Thread(target=self._work, args=(number,), name=name, daemon=True).start()

    def turn_away(self) -> bool:
        """Refuse a request that has not been read yet, if the room is full; whether it is."""
        with self._turn:
            return self._is_full(self._clock())

    def leave(self, call: WaitingCall) -> None:
        """Let a request go that nobody waits for, if it was not taken up."""
        with self._turn, suppress(ValueError):
            self._waiting.remove(call)

    def withdraw(
        self, choose: Callable[[Iterable[WaitingCall]], WaitingCall | None]
    ) -> WaitingCall | None:
        """Take one of those that wait, which is then computed beside another one; None = none."""
        with self._turn:
            while call := choose(self._waiting):
                self._waiting.remove(call)
                if call.result.set_running_or_notify_cancel():
                    return call
        return None

    def take(self) -> WaitingCall:
        """Wait for a request that is to be computed, in a thread."""
        while True:
            with self._turn:
                self._refuse_old()
                while not self._waiting:
                    self._turn.wait()
                    self._refuse_old()
                is_refusing = self._clock() - self._refused_at < QUIET_S
                call = self._waiting.pop() if is_refusing else self._waiting.popleft()
                if len(self._waiting) < self._bound(self._clock()) / 2:
                    self._refuses_since = math.inf
                self._computed += 1
            if not call.result.set_running_or_notify_cancel():
                continue
            if not call.is_gone():
                return call
            call.settle(ClientGoneError("the client has hung up."))

    def is_hung(self, seconds: float) -> bool:
        """Whether all threads have computed one request for so long."""
        return max(self._begun, default=math.inf) < self._clock() - seconds

    def _work(self, number: int) -> None:
        while True:
            call = self.take()
            self._begun[number] = self._clock()
            call()
            self._begun[number] = math.inf
            del call

    def _bound(self, now: float) -> int:
        is_small = self._has_shrunk or now - self._shared.overloaded_at[0] < QUIET_S
        return 1 if is_small else self.length

    def _is_full(self, now: float) -> bool:
        """Whether a request that comes now is refused; if so, the room may shrink."""
        if now - self._came_at > QUIET_S:
            self._has_shrunk = False
        if self._computed >= COMPUTED:
            self._has_shrunk = self._has_shrunk and self._came > CAME
            self._came = self._computed = 0
        if len(self._waiting) < self._bound(now):
            return False
        if not self._sheds:
            return True
        self._came, self._came_at, self._refused_at = self._came + 1, now, now
        self._refuses_since = min(self._refuses_since, now)
        if self._has_shrunk:
            self._shared.overloaded_at[0] = now
        elif now - self._refuses_since > PATIENCE_S:
            self._has_shrunk, self._came, self._computed = True, 0, 0
            self._refuse_old()
        return True

    def _refuse_old(self) -> None:
        now = self._clock()
        while (
            self._sheds
            and self._waiting
            and (len(self._waiting) > self._bound(now) or now - self._waiting[0].came > BURST_S)
        ):
            call = self._waiting.popleft()
            if call.result.set_running_or_notify_cancel():
                call.settle(overload_error("more is asked for than can be computed."))


def overload_error(message: str) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")


@dataclass(slots=True, eq=False)
class _EventPost(WaitingCall):
    """Events that were posted together: stored all or none."""

    events: Sequence[Event] = ()


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
        self.turn_away = self._readers.turn_away
        holder.is_hung = self._is_hung

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
        they are, and so is that of the last fallback.
        """
        half = RUNG_DEADLINES * self._deadline_s
        rungs = [(self._readers, call, self._deadline_s)]
        rungs += [(self._spare, fallback, half) for fallback in fallbacks]
        for rung in rungs[:-1]:
            try:
                return await self._compute_in(*rung)
            except Exception as error:
                if isinstance(error, SerendipError) and not isinstance(error, _SURVIVED):
                    raise
                self._failures.write("answering from less", error)
        return await self._compute_in(*rungs[-1])

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: too many writes wait, or another process holds the database.
        """
        came = time.monotonic()
        result: ResultT = await self._queue(WaitingCall(lambda: self._write(call, came)))
        return result

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in one transaction with others that wait; the number of new ones.

        A write has no deadline, unlike a read: whether it was stored must be told.
        """
        post = _EventPost(lambda: self._store(post), events=events)
        stored: int = await self._queue(post)
        return stored

    def _is_hung(self) -> bool:
        read_s, write_s = HUNG_DEADLINES * self._deadline_s, HUNG_WRITE_DEADLINES * self._deadline_s
        reads = self._readers.is_hung(read_s) or self._spare.is_hung(read_s)
        return reads or self._writer.is_hung(write_s)

    async def _compute_in(
        self, room: WaitingRoom, call: Callable[[Engine], ResultT], deadline_s: float
    ) -> ResultT:
        end = time.monotonic() + deadline_s
        waiting = WaitingCall(lambda: self._compute(call, end), current_request.get().is_gone)
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
        # If they cannot be read, this answer and those of the next second go without them.
        if time.monotonic() < self._unreadable_until:
            return
        try:
            engine.catch_up()
        except Exception:  # noqa: BLE001 - a read does not fail because of another's write
            self._unreadable_until = time.monotonic() + _RETRY_S
            _log.exception("acknowledged writes could not be read yet")

    async def _queue(self, write: WaitingCall) -> Any:
        try:
            self._writer.join(write)
        except OverloadError:
            waiting = f"{self._writer.length} writes are waiting."
            raise BusyError(waiting, "Try again in a moment.") from None
        return await asyncio.wrap_future(write.result)

    def _write(self, call: Callable[[Engine], ResultT], came: float) -> ResultT:
        if came <= self._locked_at:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                result = call(engine)
                self.holder.shared.acknowledge(engine.item_version)
                return result
        except BusyError:
            self._locked_at = time.monotonic()
            raise

    def _store(self, first: _EventPost) -> int | BaseException:
        posts, results = [first], list[int | BaseException]()
        try:
            results += self._write(
                lambda engine: engine.add_event_groups(self._take_posts(posts)), first.came
            )
        except BaseException as error:  # noqa: BLE001 - who waits for a post raises it
            results = [error] * len(posts)
        for post, result in zip(posts[1:], results[1:], strict=True):
            post.settle(result)
        return results[0]

    def _take_posts(self, posts: list[_EventPost]) -> Iterator[Sequence[Event]]:
        """The events of one transaction, each post when it is asked for and added to ``posts``."""
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
