"""The current engine, its replacement without failed requests, and the threads that call it.

A request leases the engine from start to end, so one answer never mixes two generations. A replaced
engine is closed when its last lease ends. A write is acknowledged with the version of the items in
the store that it led to, whichever engine or worker it went through; an engine whose items are
older reads the store before its next answer.

Reads and writes have separate threads, so no read waits for a write. Reads are computed one after
the other, unless one is slow or they wait for other processes. A thread whose read hangs is
replaced (``lane_threads``), a process whose write hangs. Reads wait in a bounded queue
(``read_queue``), files and answers in place of failed reads in others. SQLite allows one writer at
a time, so there is one writer thread with a bounded queue; further writes are refused at once.
Posts of events share transactions (``event_queue``). If another process locks the database for
longer than the busy timeout, the waiting write and all writes queued behind it are refused: none
waits longer than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from serendip.errors import (
    ArtefactError,
    BusyError,
    LateError,
    NotTrainedError,
    SerendipError,
    StorageError,
)
from serendip.runtime.spans import Span
from serendip.runtime.time_limit import time_limit
from serendip.serve.current_request import (
    CurrentRequest,
    get_current_request,
    set_current_request,
)
from serendip.serve.event_queue import EventPost, EventQueue
from serendip.serve.lane_threads import LaneThreads
from serendip.serve.limits import LIMITS, MAX_WAITING_WRITES
from serendip.serve.read_queue import ReadQueue
from serendip.serve.telemetry.logs import FailureLog
from serendip.serve.workers.shared_state import ServiceStatus, SharedState, WorkerStatus

if TYPE_CHECKING:
    from serendip.data.events.event import Event
    from serendip.engine.artefacts.training_record import TrainingRecord
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
    """Holds the current engine and the state of this worker; thread-safe.

    ``failed_loads`` counts failed attempts to open a generation; ``refused_generation`` names the
    published generation that cannot be opened; ``storage_problem`` says why a write would fail.
    The last two are empty if all is well. ``last_training`` says how the last training of the
    workspace ended. ``Follower`` sets them in its checks, so reading them costs nothing.
    ``find_hung`` is set by whoever owns the threads.

    Args:
        shared: state of the service; None = this is its only worker.
    """

    def __init__(self, shared: SharedState | None = None) -> None:
        self.shared = shared or SharedState()
        self._slot: _Slot | None = None
        self._lock = threading.Lock()
        self._since = 0.0
        self._behind = set[str]()  # the looks that failed the last time
        self.failed_loads = 0
        self.refused_generation = ""
        self.storage_problem = ""
        self.last_training: TrainingRecord | None = None
        self.find_hung: Callable[[], bool] = lambda: False

    @property
    def is_hung(self) -> bool:
        """Whether so many calls hang that this process has to be replaced."""
        return self.find_hung()

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
    def status(self) -> WorkerStatus:
        """The state of this worker, from memory."""
        slot = self._slot
        return WorkerStatus(
            generation=slot.engine.generation if slot else "",
            since=self._since,
            item_version=slot.engine.item_version if slot else 0,
            refused_generation=self.refused_generation,
            storage_problem=self.storage_problem,
            failed_loads=self.failed_loads,
            stats=dict(slot.engine.stats()) if slot else {},
        )

    @property
    def service_status(self) -> ServiceStatus:
        """The state of the whole service, the same in all its workers."""
        return self.shared.status(self.status)

    @contextmanager
    def lease(self) -> Iterator[EngineProtocol]:
        """Lease the current engine; it stays open until the lease ends.

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
            self._release(slot)

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

    def catch_up(self) -> None:
        """Let the current engine read what others wrote to the store.

        A failure is logged once and fails nothing: the engine answers as before and the next call
        tries again.
        """
        self._follow("changes", lambda engine: engine.catch_up())

    def follow_items(self) -> None:
        """Let the current engine read the items that others wrote, as ``catch_up`` does."""
        self._follow("items", lambda engine: engine.follow_items())

    def _follow(self, what: str, read: Callable[[EngineProtocol], None]) -> None:
        try:
            with self.lease() as engine:
                read(engine)
                # What one worker shows, no worker hides again.
                self.shared.acknowledge(engine.item_version)
        except NotTrainedError:  # nothing is loaded yet, or the holder is closed
            return
        except Exception:  # noqa: BLE001 - any failure: the stored changes are read later
            if what not in self._behind:
                _log.exception("the stored %s could not be read yet", what)
            self._behind.add(what)
        else:
            self._behind.discard(what)

    def close(self) -> None:
        """Remove the engine; it closes with its last lease."""
        self._replace(None)

    def _replace(self, slot: _Slot | None) -> None:
        with self._lock:
            old, self._slot, self._since = self._slot, slot, time.time()
            if old is None:
                return
            old.retired = True
            old.leases += 1  # our own lease, so that it is closed in one place
        self._release(old)

    def _release(self, slot: _Slot) -> None:
        with self._lock:
            slot.leases -= 1
            finished = slot.retired and slot.leases == 0
        if finished:
            slot.engine.close()


ResultT = TypeVar("ResultT")

READERS, SPARE, LAST, FILES = 4, 2, 2, 2
"""Threads for reads, for answers in place of reads that fail or take too long, for answers in place
of these, and for files."""

OTHERWISE_DEADLINES = 0.25
"""Deadlines after which an answer in place of a read is late, too, and another one is tried."""

SLOW_S = 0.1
"""Seconds after which a read is taken to wait for something, so that another one begins beside it.

Until then reads are computed one after the other, unless they wait for other processes: the
interpreter runs one thread at a time, and several that take turns need more processor time for each
read and finish all of them later."""

_RETRY_S = 1.0
"""Seconds until an engine that could not read the store tries again."""


STUCK_DEADLINES, STUCK_TIMES = 4.0, 2
"""Deadlines after which a call that still runs loses its thread to others, and times that all
threads may be replaced so."""

STUCK_WRITE_DEADLINES = 24.0
"""Deadlines after which a write that still runs hangs. It may hold the lock of the database, which
only the end of the process releases, so no other thread takes its place."""


class _Lane:
    """Threads, and the bounded queue of the calls that wait for them."""

    def __init__(
        self, name: str, threads: int, length: int, stuck_s: float, at_once: int | None = None
    ) -> None:
        at_once = threads if at_once is None else at_once
        self.queue = ReadQueue(length, readers=at_once, slow_s=SLOW_S)
        most_stuck = STUCK_TIMES * threads
        self.threads = LaneThreads(name, threads, stuck_s, most_stuck, at_once, SLOW_S)


class EnginePool:
    """Thread pools that call the engine: a few threads for reads, one for writes.

    Args:
        holder: of the current engine.
        waiting_writes: maximum number of queued writes, besides the running one.
        waiting_reads: maximum number of queued reads, besides the running ones; as many files,
            and as many answers in place of reads, may wait beside them.
        deadline_s: seconds that a read may take, waiting included.
        reads_at_once: number of reads that are computed at once as long as none is slow.
    """

    def __init__(
        self,
        holder: EngineHolder,
        waiting_writes: int = MAX_WAITING_WRITES,
        waiting_reads: int = LIMITS.waiting_requests,
        deadline_s: float = LIMITS.deadline_s,
        reads_at_once: int = 1,
    ) -> None:
        self.holder, self._deadline_s = holder, deadline_s
        stuck_s = STUCK_DEADLINES * deadline_s
        self._readers = _Lane("reader", READERS, waiting_reads, stuck_s, reads_at_once)
        self._spare = _Lane("spare", SPARE, waiting_reads, stuck_s)
        self._last = _Lane("last", LAST, waiting_reads, stuck_s)
        self._files = _Lane("files", FILES, waiting_reads, stuck_s)
        self._failures = FailureLog(_log)
        self._writer = LaneThreads("writer", 1, STUCK_WRITE_DEADLINES * deadline_s)
        holder.find_hung = self._find_hung
        self._waiting_writes = waiting_writes
        self._queue_slots = threading.BoundedSemaphore(waiting_writes + 1)
        self._posts = EventQueue()
        self._locked_at = -math.inf
        self._unreadable_until = -math.inf

    def _find_hung(self) -> bool:
        lanes = (self._readers, self._spare, self._last, self._files)
        return self._writer.is_hung or any(lane.threads.is_hung for lane in lanes)

    async def read(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """Run a read-only ``call`` with the current engine, in a reader thread.

        Raises:
            OverloadError: too many reads wait, or this one has waited too long.
            ClientGoneError: the client hung up while it waited.
            LateError: it takes too long; a call that has begun goes on, and its result is dropped.
        """
        return await self._run(self._readers, call)

    def turn_away_read(self) -> bool:
        """Whether a read that has not been looked at yet is refused, as too many wait."""
        return self._readers.queue.turn_away()

    async def read_file(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """``read`` for a file that is passed on, such as a picture, in threads of its own.

        So files take no places of rankings, and how long a ranking takes is measured alone.
        """
        return await self._run(self._files, call)

    async def read_or(
        self,
        call: Callable[[EngineProtocol], ResultT],
        otherwise: Callable[[EngineProtocol], ResultT],
        last: Callable[[EngineProtocol], ResultT | None],
    ) -> ResultT:
        """``read``, and if that takes too long or fails, run ``otherwise`` in a spare thread.

        If that is not done after a quarter of the deadline, ``last`` runs beside it, and the answer
        is that of the first of both that has one. The time for both is over when ``otherwise``
        ends, which may take, and wait, as long as a read. Errors that a client can mend are raised
        as they are, and those of ``otherwise``; no error of ``last`` is. Failures of one type are
        logged once a minute.

        Args:
            call: as of ``read``.
            otherwise: the answer in its place.
            last: an answer in place of that one, which may be None: there is none then.
        """
        try:
            return await self.read(call)
        except (ArtefactError, LateError, StorageError) as error:
            self._failures.write("answering from less", error)
        except SerendipError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails, the fallback does without it
            self._failures.write("answering from less", error)
        better = asyncio.create_task(self._run(self._spare, otherwise))
        lesser: asyncio.Task[ResultT | None] | None = None
        try:
            await asyncio.wait([better], timeout=OTHERWISE_DEADLINES * self._deadline_s)
            if better.done():
                return better.result()
            lesser = asyncio.create_task(self._run(self._last, last))
            return await self._take_first(better, lesser)
        finally:
            for task in (better, lesser):
                if task is not None and not task.cancel() and not task.cancelled():
                    task.exception()  # it has ended, however it did, and nobody waits for it

    async def _take_first(
        self, better: asyncio.Task[ResultT], lesser: asyncio.Task[ResultT | None]
    ) -> ResultT:
        """What the better of two tasks leads to, unless the other one has an answer before."""
        await asyncio.wait([better, lesser], return_when=asyncio.FIRST_COMPLETED)
        if better.done():
            return better.result()
        try:
            answer = lesser.result()
        except Exception as error:  # noqa: BLE001 - whatever fails, the better one may still come
            self._failures.write("waiting for a better answer", error)
            answer = None
        return await better if answer is None else answer

    async def write(self, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """Run ``call`` with the current engine in the writer thread, after all earlier writes.

        Raises:
            BusyError: the queue is full, or another process holds the database.
        """
        self._take_slot()
        request = get_current_request()
        future = self._writer.submit(self._write, call, time.monotonic(), request)
        future.add_done_callback(lambda _: self._queue_slots.release())
        return await asyncio.wrap_future(future)

    async def write_events(self, events: Sequence[Event]) -> int:
        """Store events in the writer thread, in one transaction with others; see ``event_queue``.

        Returns:
            number of new events.

        Raises:
            BusyError: as ``write``.
            SerendipError: as ``add_events`` of the engine.
        """
        self._take_slot()
        post = EventPost(events, get_current_request())
        post.stored.add_done_callback(lambda _: self._queue_slots.release())
        self._posts.join(post)
        self._writer.submit(self._write_posts)
        return await asyncio.wrap_future(post.stored)

    def _take_slot(self) -> None:
        if not self._queue_slots.acquire(blocking=False):
            raise BusyError(f"{self._waiting_writes} writes are waiting.", "Try again in a moment.")

    async def _run(self, lane: _Lane, call: Callable[[EngineProtocol], ResultT]) -> ResultT:
        """Run a call in a thread of a lane, as ``read`` does."""
        joined_at, request = lane.queue.join(), get_current_request()
        running = lane.threads.submit(self._read, lane.queue, call, joined_at, request)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(running)
        except TimeoutError:
            if running.done() and not running.cancelled():
                return running.result()  # it has just ended, or it is the call that raised this
            raise LateError("the answer takes too long.", "Try again in a moment.") from None
        finally:
            if running.cancelled():
                lane.queue.give_up()

    def _read(
        self,
        queue: ReadQueue,
        call: Callable[[EngineProtocol], ResultT],
        joined_at: float,
        request: CurrentRequest,
    ) -> ResultT:
        with queue.leave(joined_at, request):
            if request.spans is not None:
                waited_ns = round((time.monotonic() - joined_at) * 1e9)
                now = time.time_ns()
                request.spans.spans.append(Span("wait", now - waited_ns, now))
            with time_limit(time.monotonic(), joined_at + self._deadline_s):
                return self._read_now(call, request)

    def _read_now(
        self, call: Callable[[EngineProtocol], ResultT], request: CurrentRequest
    ) -> ResultT:
        set_current_request(request)
        with self.holder.lease() as engine:
            if engine.item_version < self.holder.shared.acknowledged:
                self._catch_up(engine)
            return call(engine)

    def _catch_up(self, engine: EngineProtocol) -> None:
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
        self,
        call: Callable[[EngineProtocol], ResultT],
        queued_at: float,
        request: CurrentRequest,
    ) -> ResultT:
        set_current_request(request)
        if queued_at <= self._locked_at:
            raise BusyError("others hold the database.", "Try again in a moment.")
        try:
            with self.holder.lease() as engine:
                result = call(engine)
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

        begin_ns = time.time_ns()
        try:
            results = self._write(
                lambda engine: engine.add_event_groups(groups()), first.queued_at, first.request
            )
            answered = list(zip(taken, results, strict=True))
        except BaseException as error:  # noqa: BLE001 - who waits for the post raises it
            for post in taken or [first]:
                post.stored.set_exception(error)
            return
        for post in taken[1:]:  # the engine measures for the first one
            post.note_span("store", begin_ns)
        for post, result in answered:
            post.answer(result)
