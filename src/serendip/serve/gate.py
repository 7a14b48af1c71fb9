"""The gate between requests and the engine: admission, one deadline, one list of fallbacks.

A service that computes all it is asked for answers everybody too late once that is more than it can
compute. So reads wait in a bounded room and are computed one after the other by one thread: the
interpreter runs one at a time, and several that take turns finish all of them later.

- A burst may fill the room; a queue that stays may not (Nichols and Jacobson, 2012; Maurer, 2015):
  once the room has refused for ``PATIENCE_S`` without becoming half empty, one request may wait,
  until hardly more come than are computed, or nobody comes for a moment. While one room of a
  service is small, all are: clients go where they are answered soon, if only to be refused.
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
from collections.abc import Callable, Iterator, Sequence
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
from serendip.runtime.budget import parse_duration, time_limit
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.limits import MAX_WAITING_WRITES
from serendip.serve.logs import FailureLog, current_request
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.shared_state import SharedState

if TYPE_CHECKING:
    from serendip.data.events.event import Event
    from serendip.engine.engine import Engine

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
_OVERLOAD = "more is asked for than can be computed."


@dataclass(slots=True, eq=False, repr=False)
class WaitingCall:
    """A request that waits to be computed, in a thread."""

    compute: Callable[[], Any]  # an error that it returns is raised, too
    is_gone: Callable[[], bool] = lambda: False  # whether nobody waits for it any more
    came: float = field(default_factory=time.monotonic)
    events: Sequence[Event] = ()  # of a post, which are stored all or none
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
    """The requests of one worker that wait for one of some threads; thread-safe."""

    def __init__(
        self,
        length: int,
        shared: SharedState | None = None,  # with it, other rooms of the service count
        clock: Callable[[], float] = time.monotonic,
        threads: int = 0,
        name: str = "",
        sheds: bool = True,  # those that wait may be refused; if not, the oldest is always the next
    ) -> None:
        self._length, self._sheds = length, sheds
        self._shared, self._clock = shared or SharedState(), clock
        self._threads, self._name = threads, name
        self._begun = list[float]()  # by thread, when its request was begun
        self._waiting = deque[WaitingCall]()
        self._refuses_since = math.inf  # of a room that has not been half empty since
        self._refused_at = -math.inf
        self._has_shrunk = False
        self._came = self._computed = 0  # since it shrank, or was looked at last
        self._came_at = 0.0
        self._turn = threading.Condition()

    def join(self, call: WaitingCall) -> None:
        """Let a request wait, or raise an error if the room is full."""
        with self._turn:
            now = self._clock()
            if self._is_full(now):
                told = f"{len(self._waiting)} others are waiting."
                raise overload_error(told) if self._sheds else busy_error(told)
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

    def take_post(self, most: int) -> WaitingCall | None:
        """The smallest of the posts of events that wait, if it has at most so many; None = none."""
        with self._turn:
            while posts := [call for call in self._waiting if 0 < len(call.events) <= most]:
                post = min(posts, key=lambda call: len(call.events))
                self._waiting.remove(post)
                if post.result.set_running_or_notify_cancel():
                    return post
        return None

    def refuse(self, error: SerendipError, left: int = 0) -> None:
        """Refuse those that wait, the oldest first, until so many are left."""
        with self._turn:
            while len(self._waiting) > left:
                call = self._waiting.popleft()
                if call.result.set_running_or_notify_cancel():
                    call.settle(error)

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
        return 1 if is_small else self._length

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
        if self._sheds:
            now = self._clock()
            old = sum(now - call.came > BURST_S for call in self._waiting)
            left = min(len(self._waiting) - old, self._bound(now))
            self.refuse(overload_error(_OVERLOAD), left)


def overload_error(message: str = _OVERLOAD) -> OverloadError:
    """The error of a request that is refused because too many were sent."""
    return OverloadError(message, "Try again in a moment, or run more workers.")


def busy_error(message: str) -> BusyError:
    """The error of a write that is refused because others write."""
    return BusyError(message, "Try again in a moment.")


class EngineGate:
    """Calls the current engine for requests, within the limits of the options."""

    def __init__(self, holder: EngineHolder, options: ServerOptions = LOCAL) -> None:
        self.holder, self.options = holder, options
        self._deadline_s = parse_duration(options.config.deadline)
        most = max(1, options.config.waiting_requests // options.workers)
        threads = READERS if options.waits_for_others else 1
        self._readers = WaitingRoom(most, holder.shared, threads=threads, name="reader")
        self._spare = WaitingRoom(most, threads=SPARE, name="spare")
        self._files = WaitingRoom(most, threads=FILES, name="file-reader")
        self._writer = WaitingRoom(MAX_WAITING_WRITES, threads=1, name="writer", sheds=False)
        self._failures = FailureLog(logging.getLogger(__name__))
        self.turn_away = self._readers.turn_away

    async def read(self, call: Callable[[Engine], ResultT], of_file: bool = False) -> ResultT:
        """Run a read-only ``call`` with the current engine; that of a file that is passed on, such
        as a picture, in threads of its own.

        ``OverloadError``, ``ClientGoneError`` and ``LateError`` say why it was not; a call that has
        begun goes on when it is late, and its result is dropped.
        """
        return await self._read_in(self._files if of_file else self._readers, call)

    async def read_or(
        self, call: Callable[[Engine], ResultT], fallbacks: Sequence[Callable[[Engine], ResultT]]
    ) -> ResultT:
        """``read``, or if that is late or fails, the first of the fallbacks that has an answer.

        Errors that a client can mend are raised as they are, and so is that of the last fallback.
        """
        rungs = [(self._readers, call, 1.0)]
        rungs += [(self._spare, fallback, RUNG_DEADLINES) for fallback in fallbacks]
        for rung in rungs[:-1]:
            try:
                return await self._read_in(*rung)
            except Exception as error:
                if isinstance(error, SerendipError) and not isinstance(error, _SURVIVED):
                    raise
                self._failures.write("answering from less", error)
        return await self._read_in(*rungs[-1])

    async def write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        ``BusyError``: too many writes wait, or another process holds the database.
        """
        write = WaitingCall(lambda: self._write(call))
        self._writer.join(write)
        result: ResultT = await asyncio.wrap_future(write.result)
        return result

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in one transaction with others that wait; the number of new ones.

        A write has no deadline, unlike a read: whether it was stored must be told.
        """
        post = WaitingCall(lambda: self._store(post), events=events)
        self._writer.join(post)
        stored: int = await asyncio.wrap_future(post.result)
        return stored

    def is_hung(self) -> bool:
        """Whether threads hang, so that this process has to be replaced."""
        read_s, write_s = HUNG_DEADLINES * self._deadline_s, HUNG_WRITE_DEADLINES * self._deadline_s
        reads = self._readers.is_hung(read_s) or self._spare.is_hung(read_s)
        return reads or self._writer.is_hung(write_s)

    def require_ready(self) -> None:
        """Raise an error if this process answers nothing; it is ready while writes fail."""
        if self.is_hung():
            raise LateError("too many requests hang.", "Restart the service; its log says more.")
        with self.holder.lease():
            pass

    async def _read_in(
        self, room: WaitingRoom, call: Callable[[Engine], ResultT], deadlines: float = 1.0
    ) -> ResultT:
        deadline_s = deadlines * self._deadline_s
        end = time.monotonic() + deadline_s

        def compute() -> ResultT:
            with time_limit(time.monotonic(), end), self.holder.lease() as engine:
                self.holder.read_acknowledged(engine)
                return call(engine)

        waiting = WaitingCall(compute, current_request.get().is_gone)
        room.join(waiting)
        try:
            async with asyncio.timeout(deadline_s):
                result: ResultT = await asyncio.wrap_future(waiting.result)
                return result
        except TimeoutError:
            raise LateError("the answer takes too long.", "Try again in a moment.") from None
        finally:
            room.leave(waiting)

    def _write(self, call: Callable[[Engine], ResultT]) -> ResultT:
        try:
            with self.holder.lease() as engine:
                result = call(engine)
                self.holder.shared.acknowledge(engine.item_version)
                return result
        except BusyError:
            self._writer.refuse(busy_error("others hold the database."))
            raise

    def _store(self, first: WaitingCall) -> int | BaseException:
        posts = [first]

        def take_events() -> Iterator[Sequence[Event]]:  # each post when it is asked for
            yield first.events
            left = MAX_EVENTS_AT_ONCE - len(first.events)
            while post := self._writer.take_post(left):
                posts.append(post)
                left -= len(post.events)
                yield post.events

        results: Sequence[int | BaseException]
        try:
            results = self._write(lambda engine: engine.add_event_groups(take_events()))
        except BaseException as error:  # noqa: BLE001 - who waits for a post raises it
            results = [error] * len(posts)
        for post, result in zip(posts[1:], results[1:], strict=True):
            post.settle(result)
        return results[0]
