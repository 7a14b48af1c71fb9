"""Posts of events that wait for the writer; several are stored in one transaction, with one sync.

A sync of the disk takes as long as storing a hundred events, and who waits behind others waits for
all of theirs. So a transaction stores the oldest post and then, of those that wait and those that
come while it stores, the smallest ones, up to a number of events. A single event waits for no queue
of large posts, and a large post is the oldest one once those before it are stored.

Each client has its order: it is told of a post before it can send what comes after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serendip.errors import SerendipError

if TYPE_CHECKING:
    from serendip.data.events.event import Event

MAX_EVENTS_AT_ONCE = 200
"""Events of one transaction, unless its oldest post alone has more: two batches of a hundred, so
that the next ones are read while these are stored."""


@dataclass(frozen=True, slots=True, eq=False)
class EventPost:
    """Events that were posted together.

    Args:
        events: stored all or none.
        context: of the request that posted them.
        queued_at: seconds of a monotonic clock.
        stored: becomes the number of new events, or the error.
    """

    events: Sequence[Event]
    context: Context
    queued_at: float = field(default_factory=time.monotonic)
    stored: Future[int] = field(default_factory=Future)

    def answer(self, result: int | SerendipError) -> None:
        """Tell who waits how many were new, or why none is stored."""
        if isinstance(result, SerendipError):
            self.stored.set_exception(result)
        else:
            self.stored.set_result(result)


class EventQueue:
    """The posts that wait; thread-safe.

    Args:
        most: events of one transaction.
    """

    def __init__(self, most: int = MAX_EVENTS_AT_ONCE) -> None:
        self._most = most
        self._waiting = list[EventPost]()
        self._lock = threading.Lock()

    def join(self, post: EventPost) -> None:
        """Wait for the next transaction that has room."""
        with self._lock:
            self._waiting.append(post)

    def take(self) -> Iterator[EventPost]:
        """The posts of one transaction, each when it is asked for, without cancelled ones."""
        left = self._most
        post = self._take_oldest()
        while post is not None:
            if post.stored.set_running_or_notify_cancel():
                yield post
                left -= len(post.events)
            post = self._take_smallest(left)

    def _take_oldest(self) -> EventPost | None:
        with self._lock:
            return self._waiting.pop(0) if self._waiting else None

    def _take_smallest(self, most: int) -> EventPost | None:
        """The smallest post of at most so many events, the oldest one of several."""
        with self._lock:
            post = min(self._waiting, key=lambda post: len(post.events), default=None)
            if post is None or len(post.events) > most:
                return None
            self._waiting.remove(post)
            return post
