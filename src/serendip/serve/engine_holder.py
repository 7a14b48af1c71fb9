"""The current engine of a process, and what follows the published generation and the store.

A request leases the engine from start to end, so one answer never mixes two generations. A replaced
engine is closed when its last lease ends. A write is acknowledged with the version of the items in
the store that it led to, whichever engine or worker it went through; an engine whose items are
older reads the store before its next answer.

If a published generation cannot be opened, the old one keeps answering, and the published one is
opened again every ``RETRY_S`` seconds: the failure may be temporary (out of memory, a locked
database), or its files may be mended. At the start there is no old one: the newest intact
generation before a damaged one is opened instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serendip.errors import ArtefactError, NotTrainedError, SerendipError
from serendip.serve.logs import FailureLog
from serendip.serve.shared_state import SharedState

if TYPE_CHECKING:
    from serendip.engine.artefacts.training_record import TrainingRecord
    from serendip.engine.engine import Engine

_log = logging.getLogger(__name__)

# Seconds between two looks for items that others wrote: they are obeyed within a second, however
# busy the machine is. A look costs microseconds on SQLite if nothing was written; on PostgreSQL the
# engine asks the server at fewer of them, twice a second.
ITEMS_EVERY_S = 0.1
LOOKS = 5  # for items to each look for all else
RETRY_S = 5.0
UNREADABLE = "unreadable"  # name for a published generation whose name cannot be read


def loading_error() -> NotTrainedError:
    """The error of requests before an engine is loaded."""
    return NotTrainedError("the service is still loading.", "Try again in a moment.")


@dataclass(slots=True, eq=False)
class _Slot:
    engine: Engine
    leases: int = 0


class EngineHolder:
    """Holds the current engine and the state of this worker; thread-safe.

    ``Follower`` sets the state, so that reading it costs nothing.

    Args:
        shared: state of the service; None = this is its only worker.

    Attributes:
        failed_loads: number of failed attempts to open a generation.
        refused_generation: the published generation that cannot be opened; empty = none.
        storage_problem: why a write would fail; empty = no known problem.
        last_training: how the last training of the workspace ended.
        is_hung: whether threads hang, so that this process has to be replaced; the gate sets it.
    """

    def __init__(self, shared: SharedState | None = None) -> None:
        self.shared = shared or SharedState()
        self._slot: _Slot | None = None
        self._lock = threading.Lock()
        self.failed_loads = 0
        self.refused_generation = self.storage_problem = ""
        self.last_training: TrainingRecord | None = None
        self.is_hung: Callable[[], bool] = lambda: False

    @property
    def is_ready(self) -> bool:
        """True once an engine is loaded."""
        return self._slot is not None

    @property
    def generation(self) -> str:
        """Name of the current generation; empty before the first."""
        slot = self._slot
        return slot.engine.generation if slot else ""

    def stats(self) -> Mapping[str, int | float | str]:
        """Statistics of the current engine; none before the first."""
        slot = self._slot
        return slot.engine.stats() if slot else {}

    @property
    def is_degraded(self) -> bool:
        """Whether a generation was refused, writes fail, or a worker is missing."""
        is_missing = self.shared.num_ready < self.shared.workers
        return bool(self.refused_generation or self.storage_problem or is_missing)

    @contextmanager
    def lease(self) -> Iterator[Engine]:
        """The current engine, which stays open until the lease ends.

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

    def swap(self, engine: Engine | None) -> None:
        """Make ``engine`` the current one, or none; the old one closes with its last lease."""
        with self._lock:
            old, self._slot = self._slot, _Slot(engine) if engine else None
            if old is None:
                return
            old.leases += 1  # our own lease, so that it is closed in one place
        self._release(old)

    def close(self) -> None:
        """Remove the engine; it closes with its last lease."""
        self.swap(None)

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

    def follow(self, read: Callable[[Engine], None]) -> None:
        """Let the current engine read what others wrote; nothing before one is loaded."""
        with suppress(NotTrainedError), self.lease() as engine:
            read(engine)
            # What one worker shows, no worker hides again.
            self.shared.acknowledge(engine.item_version)

    def _release(self, slot: _Slot) -> None:
        with self._lock:
            slot.leases -= 1
            finished = slot is not self._slot and slot.leases == 0
        if finished:
            slot.engine.close()


def _have_none() -> Engine:
    raise NotTrainedError("there is no earlier generation.")


@dataclass(frozen=True, slots=True)
class PublishedGenerations:
    """Access to the published generation and the ones before it.

    Args:
        open_engine: opens the published generation.
        current: reads its name; empty if nothing is published.
        open_earlier: opens the newest intact generation before it.
        last_training: reads how the last training ended; None = nothing is known.
    """

    open_engine: Callable[[], Engine]
    current: Callable[[], str] = lambda: ""
    open_earlier: Callable[[], Engine] = _have_none
    last_training: Callable[[], TrainingRecord | None] = lambda: None


class Follower:
    """Keeps a holder's engine up to date with the published generation and the store."""

    def __init__(self, holder: EngineHolder, published: PublishedGenerations) -> None:
        self._holder, self._published = holder, published
        self._retry_at = 0.0  # of a generation that was refused
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, now: float) -> None:
        """Open the published generation, or the newest intact one before it if it is damaged."""
        name = UNREADABLE
        try:
            name = self._published.current()
            engine = self._published.open_engine()
        except ArtefactError as damage:
            try:
                engine = self._published.open_earlier()
            except SerendipError:
                raise damage from None  # it is the more useful message
            self._refuse(name, damage, now)
        self._holder.swap(engine)
        self._holder.check_storage()

    def watch(
        self, every_s: float = ITEMS_EVERY_S, follow_keys: Callable[[], None] = lambda: None
    ) -> None:
        """Look at intervals, in background threads, until ``close``.

        A storage of generations that does not answer delays no item that others wrote, and no
        revocation (``follow_keys``); it delays what ``check`` does besides.
        """

        def follow_items() -> None:
            self._holder.follow(lambda engine: engine.follow_items())

        for name, look, pause_s in (
            ("store-watch", follow_items, every_s),
            ("key-watch", follow_keys, LOOKS * every_s),
            ("generation-watch", lambda: self.check(time.monotonic()), LOOKS * every_s),
        ):
            arguments = (name, pause_s, look)
            thread = threading.Thread(target=self._watch, args=arguments, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def check(self, now: float) -> None:
        """Look once, at a monotonic time, for a new generation, and follow the store.

        Also for room on the disk and ended trainings. Then the engine works beside: bytes of erased
        users, posted pictures and sounds.
        """
        self._follow_pointer(now)
        self._holder.check_storage()
        self._holder.last_training = self._published.last_training()
        self._holder.follow(lambda engine: engine.catch_up())
        self._holder.follow(lambda engine: engine.work_beside())

    def close(self) -> None:
        """Stop the background threads."""
        self._stopped.set()
        end = time.monotonic() + 10
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _watch(self, name: str, every_s: float, look: Callable[[], None]) -> None:
        failures = FailureLog(_log)
        while not self._stopped.wait(every_s):
            try:
                look()
            except Exception as error:  # noqa: BLE001 - any failure: what is stored is read later
                failures.write(f"the {name} could not read what is stored yet", error)

    def _follow_pointer(self, now: float) -> None:
        name = UNREADABLE
        try:
            name = self._published.current()
            if name in ("", self._holder.generation):
                self._holder.refused_generation = ""
            elif name != self._holder.refused_generation or now >= self._retry_at:
                self._holder.swap(self._published.open_engine())
                self._holder.refused_generation = ""
                _log.info("answering from %s now", self._holder.generation)
        except Exception as error:  # noqa: BLE001 - after any failure the old engine keeps answering
            self._refuse(name, error, now)

    def _refuse(self, name: str, error: Exception, now: float) -> None:
        if name == self._holder.refused_generation == UNREADABLE:
            return  # read twice a second, logged once
        self._retry_at, self._holder.refused_generation = now + RETRY_S, name
        self._holder.failed_loads += 1
        _log.error(
            "generation %r could not be loaded; an earlier one keeps answering: %s",
            name,
            error,
            exc_info=None if isinstance(error, SerendipError) else error,
        )
