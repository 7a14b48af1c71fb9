"""What the workers of one service share: a few numbers in memory, made before they are forked.

Each worker has a place of its own, so that none that is killed leaves anything locked.
"""

from __future__ import annotations

import mmap
import os
import threading
import time

_SENDERS = 1 << 18  # that are known at once, 16 bytes each
COUNTERS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # has the folder of the counters of all workers


class SharedState:
    """The numbers of a service of so many workers, as one of them sees them; thread-safe."""

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.place = workers, 0
        self.places = workers + 1  # a worker that is replaced ends after the next one has begun
        size = 8 * self.places
        memory = memoryview(mmap.mmap(-1, 3 * size + 8))
        self._versions = memory[:size].cast("q")
        # Open connections by place, as of a tenth of a second ago.
        self.connections = memory[size : 2 * size].cast("q")
        # By place, seconds of the monotonic clock when the event loop last went round; 0 = nobody
        # answers there.
        self.beats = memory[2 * size : -8].cast("d")
        self.overloaded_at = memory[-8:].cast("d")  # one number: when a worker was last
        # Of ``access.RateLimit``, by place: who sends, and when all that they sent is due.
        self.senders = memoryview(mmap.mmap(-1, 8 * _SENDERS)).cast("q")
        self.busy_until = memoryview(mmap.mmap(-1, 8 * _SENDERS)).cast("d")
        self._lock, self._supervisor = threading.Lock(), os.getpid()

    @property
    def acknowledged(self) -> int:
        """The highest item version of a write that any worker has acknowledged.

        Events need no number: see ``engine.live.user_histories``.
        """
        return max(self._versions)

    def acknowledge(self, version: int) -> None:
        """Tell all workers that a write with this item version is acknowledged."""
        with self._lock:
            self._versions[self.place] = max(version, self._versions[self.place])

    @property
    def num_ready(self) -> int:
        """Number of workers that answer, with the one that asks."""
        return max(1, min(self.workers, sum(beat > 0 for beat in self.beats)))

    def beat(self) -> None:
        """Say that the event loop of this worker goes on."""
        self.beats[self.place] = time.monotonic()

    @property
    def has_more_connections(self) -> bool:
        """Whether another worker that answers has fewer of them than this one."""
        own = self.connections[self.place]
        each = zip(self.beats, self.connections, strict=True)
        return any(beat > 0 and number < own for beat, number in each)

    @property
    def has_supervisor(self) -> bool:
        """Whether the process that started this one still runs, unless it is that process."""
        return self._supervisor in (os.getpid(), os.getppid())
