"""All segments of a workspace: opens them once, writes new ones, removes those that do not count.

A segment becomes visible by a row of the database and invisible when the row goes. A segment
without a row is what an interrupted write left behind, or was replaced: the next writer removes it.
Names begin with the name of the log, so that a database leaves the segments of another one alone.

They may lie in an object store, with copies in the folder of each machine. A segment is stored
before the database names it, so that every machine that reads its row can fetch it; copies of
segments that do not count any more go as soon as that is noticed.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.log.segment import Segment, write_segment
from serendip.data.objects.mirror import Place
from serendip.errors import StorageError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = "segment-"
_WRITING = f".writing-{_NAME}"
_REMOVED = f".removed-{_NAME}"
_WRITES = "writes-"
"""Of the object, beside the segments, that counts how often a log was written to."""

_COPY_ANEW = (
    "If this machine reads a copy of the database, copy it anew from the one that writes. "
    "Else restore a backup."
)


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment as the database names it.

    Args:
        name: of its folder.
        checksum: of its manifest.
        origin: ``file``: an import wrote it and the next one replaces it; ``api``: it has events
            of the API.
        first_seq: added to the arrivals of its events, gives their sequence numbers.
        last_seq: sequence number of its last event.
        events: number of its events.
    """

    name: str
    checksum: str
    origin: str
    first_seq: int
    last_seq: int
    events: int


class SegmentFolder:
    """The segments in one folder; safe to use from many threads.

    Args:
        place: of the segments; the first write makes the folder.
    """

    def __init__(self, place: Place) -> None:
        self.folder = place
        self._open: dict[str, Segment] = {}
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, frozenset[str]], frozenset[int]] = {}

    def open_all(self, facts: Collection[SegmentFacts], log: str) -> list[Segment]:
        """Open segments that are not open yet, and forget all others.

        Args:
            facts: all segments of the log.
            log: its name; empty = nobody wrote a segment yet.

        Raises:
            SegmentMissing: a segment is not there.
            SegmentDamaged: a segment is damaged.
        """
        opened = [self.open(one) for one in facts]
        with self._lock:
            self._open = {segment.name: segment for segment in opened}
            return opened

    def open(self, facts: SegmentFacts) -> Segment:
        """Open a segment if it is not open yet.

        Raises:
            SegmentMissing: it is not there.
            SegmentDamaged: it is damaged.
        """
        with self._lock:
            segment = self._open.get(facts.name)
            if segment is None:
                segment = self._open_one(facts)
                self._open[facts.name] = segment
            return segment

    def find_users(
        self, segment: Segment, digests: frozenset[str], digest: Callable[[str], str]
    ) -> frozenset[int]:
        """Numbers of the users of a segment who have one of some digests; remembers the last ones.

        Args:
            segment: whose users are asked for.
            digests: of ids.
            digest: id -> digest, the same at every call.
        """
        key = segment.name, digests
        found = self._waiting.get(key)
        if found is None:
            names = enumerate(segment.user_ids.to_pylist())
            found = frozenset(number for number, name in names if digest(name) in digests)
            self._waiting = {key: found}
        return found

    def _open_one(self, facts: SegmentFacts) -> Segment:
        return Segment.open(self.folder / facts.name, facts.checksum)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only one who writes or removes segments.

        Raises:
            StorageError: another process is writing, or the folder cannot be written to.
        """
        try:
            with exclusive_lock(self.folder):
                yield
        except OSError as error:
            raise StorageError(
                f"the event log cannot be written to: {error.strerror or error}.",
                "Nothing was written. Check free space and permissions.",
            ) from error

    def write(
        self, log: str, table: pa.Table, arrivals: NDArray[np.integer[Any]]
    ) -> tuple[str, str]:
        """Write a segment, synced; nobody sees it before the database names it.

        Args:
            log: name of the log.
            table: the events, at least one.
            arrivals: (E,) order of their arrival, from 0.

        Returns:
            its name and its checksum.
        """
        number = f"{log}-{secrets.token_hex(6)}"
        name, building = f"{_NAME}{number}", self.folder / f"{_WRITING}{number}"
        building.mkdir()
        checksum = write_segment(building, table, arrivals)
        building.rename(self.folder / name)
        flush_folder(self.folder)
        return name, checksum

    def rename(self, name: str, log: str) -> str:
        """Move a segment to another log, which nobody reads yet; returns its new name."""
        new = f"{_NAME}{log}-{name.rpartition('-')[2]}"
        (self.folder / name).rename(self.folder / new)
        return new

    def count_write(self, log: str, writes: int, note: Callable[[int], None]) -> None:
        """Nothing: no other machine has the segments."""

    def stored_logs(self) -> dict[str, int]:
        """Nothing: no other machine has the segments."""
        return {}

    def forget(self, log: str) -> None:
        """Nothing: no other machine has the segments."""

    def keep_only(self, log: str, names: Collection[str]) -> None:
        """Remove all segments of a log, whole and halved, but those of these names.

        In an object store those of these names that it does not have yet are stored.
        """
        for start in (_NAME, _WRITING, _REMOVED):
            for path in self.folder.glob(f"{start}{log}-*"):
                if path.name not in names:
                    # Whole at once, so that a reader finds all files of a segment or none.
                    removed = path.with_name(_REMOVED + path.name.removeprefix(start))
                    path.rename(removed)
                    shutil.rmtree(removed)
