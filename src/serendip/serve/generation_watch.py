"""Follows what is published: one look a second, each of which may swap the engine.

A generation that cannot be opened leaves the old one answering. Where it is damaged, it is tried
again when its files have changed; whatever else was wrong may pass (no memory, a locked database),
and it is tried again after a while, each time after twice as long. At the start, when there is no
old one, a damaged generation is stood in for by the newest sound one before it.
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
    from serendip.serve.engine_holder import EngineHolder
    from serendip.serve.engine_protocol import EngineProtocol

_log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
UNREADABLE = "unreadable"
"""Said of a published generation whose name cannot be read."""


@dataclass(frozen=True, slots=True)
class Published:
    """How to reach what is published.

    Args:
        open_engine: opens the published generation.
        current: reads its name; empty where there is none.
        open_earlier: opens the newest sound generation before it.
        files_state: changes whenever a file of the named generation does.
    """

    open_engine: Callable[[], EngineProtocol]
    current: Callable[[], str] = lambda: ""
    open_earlier: Callable[[], EngineProtocol] | None = None
    files_state: Callable[[str], Hashable] = lambda name: name


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A generation that could not be opened, and when it is tried again."""

    name: str
    error: Exception
    files: Hashable
    wait_s: float
    retry_at: float


class Follower:
    """Keeps the engine of a holder the one of the published generation."""

    def __init__(self, holder: EngineHolder, published: Published) -> None:
        self._holder, self._published = holder, published
        self._refusal: _Refusal | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, now: float) -> None:
        """Open the published generation, or the newest sound one before it if it is damaged.

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
        self._holder.look_at_storage()

    def watch(self, every_s: float = 1.0) -> None:
        """Look again and again, in a thread of its own, until ``close``."""
        self._thread = threading.Thread(
            target=self._watch, args=(every_s,), name="generation-watch", daemon=True
        )
        self._thread.start()

    def look(self, now: float) -> None:
        """Look once whether another generation is published, and whether writes go through.

        Args:
            now: seconds of a clock that never goes back.
        """
        self._holder.catch_up_if_behind()
        self._holder.look_at_storage()
        name, files = UNREADABLE, None
        try:
            name = self._published.current()
            if name in ("", self._holder.generation):
                self._accept()
            elif self._is_due(name, now):
                files = self._published.files_state(name)
                self._holder.swap(self._published.open_engine())
                self._accept()
                _log.info("now answering from %s", self._holder.generation)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one answers on
            self._refuse(name, files, error, now)

    def close(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _watch(self, every_s: float) -> None:
        while not self._stopped.wait(every_s):
            self.look(time.monotonic())

    def _open_earlier(self, damage: ArtefactError) -> EngineProtocol:
        if self._published.open_earlier is None:
            raise damage
        try:
            return self._published.open_earlier()
        except SerendipError:
            raise damage from None  # that it is damaged says more than that there is no other

    def _is_due(self, name: str, now: float) -> bool:
        """Whether a generation is to be opened: a new one, or one whose trouble may be over."""
        refusal = self._refusal
        if refusal is None or refusal.name != name:
            return True
        if isinstance(refusal.error, ArtefactError):
            return self._published.files_state(name) != refusal.files
        return now >= refusal.retry_at

    def _refuse(self, name: str, files: Hashable, error: Exception, now: float) -> None:
        before = self._refusal
        again = before is not None and before.name == name
        if again and name == UNREADABLE:
            return  # read every second, said once
        wait_s = min(2 * before.wait_s, LONGEST_WAIT_S) if before and again else FIRST_WAIT_S
        self._refusal = _Refusal(name, error, files, wait_s, now + wait_s)
        self._holder.refused_generation = name
        self._holder.failed_loads += 1
        _log.error(
            "generation %r could not be loaded; another one answers: %s",
            name,
            error,
            exc_info=None if isinstance(error, SerendipError) else error,
        )

    def _accept(self) -> None:
        self._refusal = None
        self._holder.refused_generation = ""
