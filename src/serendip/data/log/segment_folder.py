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
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.log.segment import Segment, SegmentDamaged, write_segment
from serendip.data.objects.mirror import Mirror, Place, local_folder
from serendip.errors import ArtefactError, StorageError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder
from serendip.runtime.versions import MANIFEST

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
        self.folder = local_folder(place)
        self._mirror = place if isinstance(place, Mirror) else None
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
            self._drop_old_copies(log)
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
        """Open a segment; one that is missing or damaged here is fetched first."""
        path = self.folder / facts.name
        try:
            return Segment.open(path, facts.checksum)
        except SegmentDamaged as error:
            if self._mirror is None:
                raise
            self._fetch(self._mirror, facts.name, error)
        return Segment.open(path, facts.checksum)

    @staticmethod
    def _fetch(mirror: Mirror, name: str, damage: SegmentDamaged) -> None:
        """Fetch a segment.

        Raises:
            SegmentDamaged: that cannot be done, so that it waits as a damaged one does.
        """
        try:
            if mirror.fetch(name):
                return
        except (ArtefactError, StorageError) as error:
            # A missing one that was removed there meanwhile was replaced: see ``read_log``.
            kind = type(damage) if isinstance(error, ArtefactError) else SegmentDamaged
            message = f"{damage.message} It cannot be fetched: {error.message}"
            raise kind(message, error.hint) from None
        raise type(damage)(f"{damage.message} {mirror.objects.name} has none.", _COPY_ANEW)

    def _drop_old_copies(self, log: str) -> None:
        """Remove copies of segments that do not count any more, also for the sake of erasures."""
        if self._mirror is not None and log:
            for path in self.folder.glob(f"{_NAME}{log}-*"):
                if path.name not in self._open:
                    self._mirror.drop_copy(path.name)

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
        if self._mirror is not None:
            self._mirror.store(name, building)
        building.rename(self.folder / name)
        flush_folder(self.folder)
        return name, checksum

    def rename(self, name: str, log: str) -> str:
        """Move a segment to another log, which nobody reads yet; returns its new name."""
        new = f"{_NAME}{log}-{name.rpartition('-')[2]}"
        (self.folder / name).rename(self.folder / new)
        return new

    def count_write(self, log: str, writes: int, note: Callable[[int], None]) -> None:
        """Count one more write to a log, unless another copy of its database was ahead.

        A copy that is behind names segments that were replaced since, and would remove the new
        ones. Without an object store nobody else has the segments.

        Args:
            log: name of the log.
            writes: as the database counted them.
            note: notes the new number in the database, before the object store has it.

        Raises:
            StorageError: another copy of the database has written to the log.
        """
        if self._mirror is None:
            return
        objects, key = self._mirror.objects, f"{_WRITES}{log}"
        found = objects.read(key)
        if found is None or int(found.content.partition(b" ")[0]) <= writes:
            note(writes + 1)
            content = f"{writes + 1} {secrets.token_hex(8)}".encode("ascii")
            if objects.replace(key, content, None if found is None else found.tag):
                return
        raise StorageError(
            f"another copy of this database has written to the event log in {objects.name}.",
            "Import and train where that one lies, and copy the database from there. To go on with "
            "this one, back it up and use what `serendip restore` makes of the backup.",
        )

    def stored_logs(self) -> dict[str, int]:
        """Log -> number of its segments in the object store, of all databases that wrote any.

        Raises:
            StorageError: the store cannot be reached.
        """
        if self._mirror is None:
            return {}
        keys = self._mirror.objects.sizes(_NAME)
        names = {key.partition("/")[0].removeprefix(_NAME) for key in keys}
        return dict(sorted(Counter(name.rpartition("-")[0] for name in names).items()))

    def forget(self, log: str) -> None:
        """Remove a log that no database has any more from the object store, and copies here.

        Raises:
            StorageError: the store cannot be reached; what is left is removed by the next call.
        """
        if self._mirror is None:
            return
        objects, start = self._mirror.objects, f"{_NAME}{log}-"
        for name in sorted({key.partition("/")[0] for key in objects.sizes(start)}):
            self._mirror.remove(name)
        objects.remove_parts(start)
        for path in self.folder.glob(f"{start}*"):
            self._mirror.drop_copy(path.name)
        objects.remove(objects.sizes(f"{_WRITES}{log}"))

    def keep_only(self, log: str, names: Collection[str]) -> None:
        """Remove all segments of a log, whole and halved, but those of these names.

        In an object store those of these names that it does not have yet are stored.
        """
        if self._mirror is not None:
            self._store_missing(self._mirror, log, names)
            self._mirror.objects.remove_parts(f"{_NAME}{log}-")
            self._mirror.drop_parts()
        for start in (_NAME, _WRITING, _REMOVED):
            for path in self.folder.glob(f"{start}{log}-*"):
                if path.name not in names:
                    # Whole at once, so that a reader finds all files of a segment or none.
                    removed = path.with_name(_REMOVED + path.name.removeprefix(start))
                    path.rename(removed)
                    shutil.rmtree(removed)

    def _store_missing(self, mirror: Mirror, log: str, names: Collection[str]) -> None:
        complete = set(mirror.names())
        stored = {key.partition("/")[0] for key in mirror.objects.sizes(f"{_NAME}{log}-")}
        for name in sorted(set(names) - complete):
            if (
                self.folder / name / MANIFEST
            ).is_file():  # else another machine has it, and stores it
                mirror.store(name, self.folder / name)
        for name in sorted(stored - set(names)):
            mirror.remove(name)
