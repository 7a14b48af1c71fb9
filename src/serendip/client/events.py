"""Events that are sent in the background, in batches."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from serendip.client.errors import ApiError

if TYPE_CHECKING:
    from serendip.client.types import EventIn

_log = logging.getLogger(__name__)

BATCH, BATCH_S = 100, 1.0  # events per request, and how long the first of them waits for others
PAUSE_S = 0.25  # before a batch is sent again, after the retries of its request
MAX_WAITING = 100_000  # events that wait for a service that does not answer
_REFUSED = (400, 413, 422)  # statuses that are the fault of an event


class EventSender:
    """Sends events from a thread until each is stored or refused.

    Each has an id, so that one that is sent twice is stored once, and the time when it was added.

    Args:
        post: stores a batch, or raises ``ApiError``.
    """

    def __init__(self, post: Callable[[Sequence[EventIn]], object]) -> None:
        self._post = post
        self._waiting: deque[EventIn] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._hurries = False
        atexit.register(self.flush)

    def add(self, event: EventIn) -> None:
        """Add an event; returns at once."""
        with self._turn:
            if len(self._waiting) >= MAX_WAITING:
                _log.error("an event is dropped: %d others wait for the service", MAX_WAITING)
                return
            self._waiting.append({"event_id": uuid.uuid4().hex, "timestamp": time.time(), **event})
            self._turn.notify_all()
            if self._thread is None or not self._thread.is_alive():  # as after a fork
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def flush(self, timeout_s: float = 10.0) -> int:
        """Send what waits now; the number of events that are not stored after the timeout."""
        with self._turn:
            self._hurries = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._waiting, timeout_s)
            self._hurries = False
            if self._waiting:
                _log.error("%d events are not stored yet", len(self._waiting))
            return len(self._waiting)

    def close(self) -> int:
        """``flush``, which the end of the process no longer does."""
        atexit.unregister(self.flush)
        return self.flush()

    def _work(self) -> None:
        while batch := self._take():
            if not self._store(batch):
                time.sleep(PAUSE_S)
                continue
            with self._turn:
                for _ in batch:
                    self._waiting.popleft()
                self._turn.notify_all()

    def _take(self) -> list[EventIn]:
        """The next batch, which goes on waiting; empty = this thread ends."""
        with self._turn:
            self._turn.wait_for(lambda: len(self._waiting) >= BATCH or self._hurries, BATCH_S)
            batch = list(islice(self._waiting, BATCH))
            if not batch:
                self._thread = None
            return batch

    def _store(self, batch: Sequence[EventIn]) -> bool:
        """Whether each event of a batch is stored, or refused for what it is."""
        try:
            self._post(batch)
        except (ApiError, TypeError, ValueError) as error:
            if isinstance(error, ApiError) and error.status not in _REFUSED:
                return False
            if len(batch) == 1:
                _log.error("an event is dropped, as it was refused: %s", error)
                return True
            middle = len(batch) // 2  # one invalid event rejects all of its request
            return self._store(batch[:middle]) and self._store(batch[middle:])
        return True
