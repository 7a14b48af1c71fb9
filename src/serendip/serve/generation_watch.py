"""Follows the published generation: checks it twice a second and swaps the engine if it changed.

If a generation cannot be opened, the old one keeps answering. A damaged generation is opened again
once its files have changed; after any other failure, which may be temporary (out of memory, a
locked database), it is opened again with exponential backoff. At the start there is no old one: the
newest intact generation before a damaged one is opened instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serendip.errors import ArtefactError, SerendipError

if TYPE_CHECKING:
    from serendip.engine.artefacts.training_record import TrainingRecord
    from serendip.serve.engine_holder import EngineHolder
    from serendip.serve.engine_protocol import EngineProtocol

_log = logging.getLogger(__name__)

EVERY_S = 0.5
"""Seconds between two checks."""

ITEMS_EVERY_S = 0.1
"""Seconds between two looks for items that others wrote: they are obeyed within a second, however
busy the machine is. A look costs microseconds on SQLite if nothing was written; on PostgreSQL the
engine asks the server at fewer of them, twice a second."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
UNREADABLE = "unreadable"
"""Name for a published generation whose name cannot be read."""


@dataclass(frozen=True, slots=True)
class PublishedGenerations:
    """Access to the published generation and the ones before it.

    Args:
        open_engine: opens the published generation.
        current: reads its name; empty if nothing is published.
        open_earlier: opens the newest intact generation before it.
        files_state: maps a generation's name to a value that changes with any of its files.
        last_training: reads how the last training ended; None = nothing is known.
    """

    open_engine: Callable[[], EngineProtocol]
    current: Callable[[], str] = lambda: ""
    open_earlier: Callable[[], EngineProtocol] | None = None
    files_state: Callable[[str], Hashable] = lambda name: name
    last_training: Callable[[], TrainingRecord | None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A generation that could not be opened, and when to open it again."""

    name: str
    error: Exception
    files: Hashable
    wait_s: float
    retry_at: float


class Follower:
    """Keeps a holder's engine up to date with the published generation."""

    def __init__(self, holder: EngineHolder, published: PublishedGenerations) -> None:
        self._holder, self._published = holder, published
        self._refusal: _Refusal | None = None
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, now: float) -> None:
        """Open the published generation, or the newest intact one before it if it is damaged.

        Raises:
            SerendipError: neither can be opened.
        """
        name, files = "", None
        try:
            name = self._published.current()
            files = self._published.files_state(name)
            engine = self._published.open_engine()
        except ArtefactError as error:
            engine = self._open_earlier(error)
            self._refuse(name or UNREADABLE, files, error, now)
        self._holder.swap(engine)
        self._holder.check_storage()
        self._holder.shared.publish(self._holder.status)

    def watch(self, every_s: float = EVERY_S, items_every_s: float = ITEMS_EVERY_S) -> None:
        """Check at intervals, in background threads, until ``close``.

        The pointer and the items have threads of their own: a storage that does not answer delays
        no foreign write, nor does what is not urgent.
        """
        for name, look, pause_s in (
            ("item-watch", self._holder.follow_items, items_every_s),
            ("store-watch", self._look, every_s),
            ("generation-watch", self._follow, every_s),
        ):
            thread = threading.Thread(target=self._watch, args=(pause_s, look), name=name)
            thread.daemon = True
            self._threads.append(thread)
            thread.start()

    def check(self, now: float) -> None:
        """Check once for foreign writes, storage problems, a new generation and trainings.

        Args:
            now: seconds of a monotonic clock.
        """
        self._follow_pointer(now)
        self._look()

    def _follow(self) -> None:
        self._follow_pointer(time.monotonic())

    def _look(self) -> None:
        """Look for foreign writes, storage problems and trainings."""
        self._holder.catch_up()
        self._holder.check_storage()
        self._holder.last_training = self._published.last_training()
        self._holder.shared.publish(self._holder.status)

    def _follow_pointer(self, now: float) -> None:
        """Open the published generation if it is another one than the current."""
        name, files = UNREADABLE, None
        try:
            name = self._published.current()
            if name in ("", self._holder.generation):
                self._accept()
            elif self._is_due(name, now):
                files = self._published.files_state(name)
                self._holder.swap(self._published.open_engine())
                self._accept()
                _log.info("answering from %s now", self._holder.generation)
        except Exception as error:  # noqa: BLE001 - after any failure the old engine keeps answering
            self._refuse(name, files, error, now)

    def close(self) -> None:
        """Stop the background thread."""
        self._stopped.set()
        end = time.monotonic() + 10
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _watch(self, every_s: float, look: Callable[[], None]) -> None:
        while not self._stopped.wait(every_s):
            look()

    def _open_earlier(self, damage: ArtefactError) -> EngineProtocol:
        if self._published.open_earlier is None:
            raise damage
        try:
            return self._published.open_earlier()
        except SerendipError:
            raise damage from None  # the damage is the more useful message

    def _is_due(self, name: str, now: float) -> bool:
        """True for a new generation, or a refused one that is worth another attempt."""
        refusal = self._refusal
        if refusal is None or refusal.name != name:
            return True
        if isinstance(refusal.error, ArtefactError):
            return self._published.files_state(name) != refusal.files
        return now >= refusal.retry_at

    def _refuse(self, name: str, files: Hashable, error: Exception, now: float) -> None:
        last = self._refusal
        is_repeated = last is not None and last.name == name
        if is_repeated and name == UNREADABLE:
            return  # read twice a second, logged once
        wait_s = min(2 * last.wait_s, LONGEST_WAIT_S) if last and is_repeated else FIRST_WAIT_S
        self._refusal = _Refusal(name, error, files, wait_s, now + wait_s)
        self._holder.refused_generation = name
        self._holder.failed_loads += 1
        _log.error(
            "generation %r could not be loaded; an earlier one keeps answering: %s",
            name,
            error,
            exc_info=None if isinstance(error, SerendipError) else error,
        )

    def _accept(self) -> None:
        self._refusal = None
        self._holder.refused_generation = ""
