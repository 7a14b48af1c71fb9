"""The current engine of a process; it follows the published generation and the store.

A request leases the engine from start to end, so one answer never mixes two generations. A write is
acknowledged with the version of the items in the store that it led to, whichever engine or worker
it went through; an engine whose items are older reads the store before its next answer.

If a published generation cannot be opened, the old one keeps answering - at the start the newest
intact one before it - and it is opened again every ``RETRY_S`` seconds: the failure may be
temporary (out of memory, a locked database), or its files may be mended.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
_REREAD_S = 1.0  # until a store that could not be read for an answer is read for the next one
_END_S = 10.0  # that the threads have to end
UNREADABLE = "unreadable"  # name for a published generation whose name cannot be read


def _have_none() -> Engine:
    raise NotTrainedError("there is no such generation.")


@dataclass(frozen=True, slots=True)
class PublishedGenerations:
    """How to open the published generation, and what is known of it."""

    open_engine: Callable[[], Engine] = _have_none
    current: Callable[[], str] = lambda: ""  # its name; empty = nothing is published
    open_earlier: Callable[[], Engine] = _have_none  # the newest intact one before it
    last_training: Callable[[], TrainingRecord | None] = lambda: None  # how it ended


class _Slot:  # closes its engine once nobody refers to it, which Python counts
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        weakref.finalize(self, engine.close).atexit = False  # requests that hang hold it then


class EngineHolder(AbstractContextManager["EngineHolder"]):
    """Holds the current engine, and knows the state of its worker from memory; thread-safe.

    A ``with`` block closes the engine.
    """

    def __init__(
        self,
        published: PublishedGenerations = PublishedGenerations(),
        shared: SharedState | None = None,
    ) -> None:
        self.shared, self._published = shared or SharedState(), published
        self._slot: _Slot | None = None
        self._retry_at = self._reread_at = 0.0  # a refused generation; a store that fails
        self._failures = FailureLog(_log)
        self.failed_loads = 0
        self.refused_generation = ""  # the published one, if it cannot be opened
        self.storage_problem = ""  # why a write would fail
        self.last_training: TrainingRecord | None = None  # of the workspace

    def __exit__(self, *error: object) -> None:
        self.swap(None)

    @property
    def generation(self) -> str:
        """Name of the current generation; empty = no engine is loaded yet."""
        slot = self._slot
        return slot.engine.generation if slot else ""

    @property
    def is_degraded(self) -> bool:
        """Whether a generation was refused, writes fail, or a worker is missing."""
        is_missing = self.shared.num_ready < self.shared.workers
        return bool(self.refused_generation or self.storage_problem or is_missing)

    @contextmanager
    def lease(self) -> Iterator[Engine]:
        """The current engine, which stays open until the lease ends; an error if none is loaded."""
        slot = self._slot
        if slot is None:
            raise NotTrainedError("the service is still loading.", "Try again in a moment.")
        try:
            yield slot.engine
        finally:
            del slot  # which the traceback of an error would keep

    def swap(self, engine: Engine | None) -> None:
        """Make ``engine`` the current one, or none; the old one closes with its last lease."""
        self._slot = _Slot(engine) if engine else None

    @contextmanager
    def watching(
        self, follow_keys: Callable[[], None] = lambda: None, every_s: float = ITEMS_EVERY_S
    ) -> Iterator[None]:
        """Look at intervals, in background threads, while the block runs.

        A storage of generations that does not answer delays no item that others wrote, and no
        revocation (``follow_keys``).
        """
        stopped, threads = threading.Event(), list[threading.Thread]()

        def watch(look: Callable[[], None], pause_s: float) -> None:
            name = threading.current_thread().name
            while not stopped.wait(pause_s):
                try:
                    look()
                except Exception as error:  # noqa: BLE001 - what is stored is read later
                    self._failures.write(f"the {name} could not read what is stored yet", error)

        for name, look, pause_s in (
            ("item-watch", lambda: self.with_engine(lambda engine: engine.read_items()), every_s),
            ("key-watch", follow_keys, LOOKS * every_s),
            ("workspace-watch", lambda: self.check(time.monotonic()), LOOKS * every_s),
        ):
            arguments = (look, pause_s)
            thread = threading.Thread(target=watch, args=arguments, name=name, daemon=True)
            threads.append(thread)
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            end = time.monotonic() + _END_S
            for thread in threads:
                thread.join(timeout=max(0.0, end - time.monotonic()))

    def check(self, now: float) -> None:
        """Look once, at a monotonic time, for a new generation, room on the disk, ended trainings
        and rows of others; then the engine works beside: bytes of erased users, posted pictures.

        The first time an error says why no generation can be opened.
        """
        self._open_published(now)
        self.check_storage()
        self.last_training = self._published.last_training()
        self.with_engine(lambda engine: engine.catch_up())
        self.with_engine(lambda engine: engine.work_beside())

    def check_storage(self) -> None:
        """Update ``storage_problem`` from the engine and log changes."""
        with suppress(NotTrainedError), self.lease() as engine:
            problem = engine.storage_problem()
            if problem and problem != self.storage_problem:
                _log.error("writes are refused, reads go on: %s", problem)
            elif self.storage_problem and not problem:
                _log.info("writes are accepted again")
            self.storage_problem = problem

    def with_engine(self, read: Callable[[Engine], None]) -> None:
        """Let the current engine read what others wrote; nothing before one is loaded."""
        with suppress(NotTrainedError), self.lease() as engine:
            read(engine)
            # What one worker shows, no worker hides again.
            self.shared.acknowledge(engine.item_version)

    def read_acknowledged(self, engine: Engine) -> None:
        """Let a leased engine read the items that were acknowledged elsewhere.

        A read does not fail because of another's write: it and those of the next second go without.
        """
        if engine.item_version < self.shared.acknowledged and time.monotonic() >= self._reread_at:
            try:
                engine.catch_up()
            except Exception as error:  # noqa: BLE001
                self._reread_at = time.monotonic() + _REREAD_S
                self._failures.write("acknowledged writes could not be read yet", error)

    def _open_published(self, now: float) -> None:
        name = UNREADABLE
        try:
            name = self._published.current()
            if self._slot and name in ("", self.generation):
                self.refused_generation = ""
            elif name != self.refused_generation or now >= self._retry_at:
                self.swap(self._published.open_engine())
                self.refused_generation = ""
                _log.info("answering from %s now", self.generation)
        except Exception as error:  # noqa: BLE001 - after any failure the old engine goes on
            if not self._slot:
                self._open_earlier(error)
            self._refuse(name, error, now)

    def _open_earlier(self, error: Exception) -> None:
        if not isinstance(error, ArtefactError):
            raise error
        try:
            self.swap(self._published.open_earlier())
        except SerendipError:
            raise error from None  # it is the more useful message

    def _refuse(self, name: str, error: Exception, now: float) -> None:
        if name == self.refused_generation == UNREADABLE:
            return  # read twice a second, logged once
        self._retry_at, self.refused_generation = now + RETRY_S, name
        self.failed_loads += 1
        _log.error(
            "generation %r could not be loaded; an earlier one keeps answering: %s",
            name,
            error,
            exc_info=None if isinstance(error, SerendipError) else error,
        )
