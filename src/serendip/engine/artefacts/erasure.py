"""Erasure of users and items, and the receipt that names every place and its state.

Erasing has two halves. The first is one transaction: from its end on no answer of any worker knows
the user, and nothing that happened before is stored again. The second removes bytes: it writes the
database file again, and removes exported vectors. It takes time in proportion to the database and
may be interrupted at any moment: the next erasure, import or training goes on with it. What a
generation learned ends with the next training (``engine.generations``).

A receipt has no id of a user, so that it can be kept. ``Eraser.find_receipt`` gives, for the id,
the receipt of the last erasure with the present state; erasing again is another erasure.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from serendip.content.posted_media import PostedMediaTable
from serendip.data.store.store import Store
from serendip.data.store.tables.backups import Backup
from serendip.data.store.tables.erased_users import UserErasure
from serendip.data.store.tables.exports import Export
from serendip.data.store.validation import id_problem
from serendip.engine.artefacts.generations import with_erased, with_erased_item
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, SerendipError, StorageError
from serendip.runtime.atomic_files import exclusive_lock, is_being_written, is_locked
from serendip.runtime.background import BackgroundProcess
from serendip.runtime.scratch import find_scratch, remove_abandoned

_log = logging.getLogger(__name__)

PlaceState = Literal["erased", "pending", "kept"]

SCRATCH = "scratch-"
"""Beginning of the names of folders in which a training keeps a copy of the log."""

BACKUP_SCRATCH = ".backup-"
"""Beginning of the names of folders in which a backup collects its files."""

EXPORTS = ("users.parquet", "queries.parquet")
"""Files of exported vectors that name users, or what they typed."""

RETRY_S, LONGEST_RETRY_S = 30.0, 1_800.0
"""Seconds until a service looks again whether bytes are left to remove: at first, and at most if
they stay, as while somebody reads an older state."""

REST = 4.0
"""Times that a removal took, for which a service waits before the next one: each writes the
database again as a whole, however many were erased, so that many erasures share one."""

_AGAIN = "a running service goes on with it, as do `serendip erase`, an import and a training"


@dataclass(frozen=True, slots=True)
class ErasurePlace:
    """A place where something about a user or an item was, or may still be.

    Args:
        place: its name.
        state: ``erased``: nothing is left; ``pending``: something is, for the reason given;
            ``kept``: it is not the engine's to erase, or tells nothing about anybody.
        detail: one sentence.
    """

    place: str
    state: PlaceState
    detail: str


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What became of a user or an item, place by place.

    Args:
        kind: ``user`` or ``item``.
        digest: keyed digest of the user's id; of an item its id.
        erased_at: Unix seconds of the erasure.
        events: number of events that this call removed.
        places: all of them.
    """

    kind: Literal["user", "item"]
    digest: str
    erased_at: float
    events: int
    places: tuple[ErasurePlace, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is pending."""
        return all(place.state != "pending" for place in self.places)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        moment = datetime.fromtimestamp(self.erased_at, UTC).isoformat(timespec="seconds")
        return {**asdict(self), "erased_at": moment, "is_complete": self.is_complete}


class Eraser:
    """Erases from one workspace; safe to use from many threads.

    Args:
        workspace: to erase from.
        store: of its database.
    """

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self._workspace, self._store = workspace, store

    def erase_user(self, user_id: str) -> ErasureReceipt:
        """Erase a user: what happened until now.

        Raises:
            StorageError: the database cannot be written to; nothing is erased.
        """
        erasure, events = self._store.erase_user(user_id)
        return self._user_receipt(erasure, events)

    def find_receipt(self, user_id: str) -> ErasureReceipt | None:
        """A user's last erasure with the present state of the places; erases nothing.

        None if the user never was erased.
        """
        erasure = self._store.erasure(user_id)
        return None if erasure is None else self._user_receipt(erasure, 0)

    def renew(self, receipt: ErasureReceipt) -> ErasureReceipt:
        """The same receipt with the present state of the places."""
        if receipt.kind == "item":
            return replace(receipt, places=tuple(self._item_places()))
        erasure = self._store.erasures().by_digest[receipt.digest]
        return self._user_receipt(erasure, receipt.events)

    def erase_item(self, item_id: str) -> ErasureReceipt:
        """Erase an item, also one that only an import would bring.

        Raises:
            DataError: the id is not valid.
            StorageError: the database cannot be written to; nothing is erased.
        """
        if problem := id_problem(item_id):
            raise DataError(f"item id {item_id[:40]!r} cannot be erased: it {problem}.")
        self._store.erase_item(item_id)
        if self._workspace.posted_media.exists():
            with closing(PostedMediaTable.open(self._workspace.posted_media)) as table:
                table.remove(item_id)
        return ErasureReceipt("item", item_id, time.time(), 0, tuple(self._item_places()))

    def has_remains(self) -> bool:
        """Whether ``remove_remains`` has anything to do."""
        store = self._store
        return bool(
            store.has_remains()
            or self._vectors_of_erased()
            or any(not is_locked(locked) for locked in self._scratch().values())
        )

    def remove_remains(self) -> None:
        """Remove the bytes of all erased users and items but those that a training has to.

        Raises:
            StorageError: another process packs events, or the disk is full; what is left is
                removed by the next call.
        """
        for path in self._vectors_of_erased():
            path.unlink(missing_ok=True)
        for place in (self._workspace.training, self._workspace.reports):
            remove_abandoned(place)
        for folder, locked in self._scratch().items():
            with suppress(StorageError), exclusive_lock(locked):  # of one that was killed
                shutil.rmtree(folder)
        self._store.remove_erased()

    def _user_receipt(self, erasure: UserErasure, events: int) -> ErasureReceipt:
        places = (
            ErasurePlace("answers", "erased", "no worker uses events or attributes any more"),
            self._database(),
            self._vectors(erasure.removals),
            self._exports([one for one in self._noted() if one.removals < erasure.removals]),
            self._scratch_place(),
            self._generations(with_erased(self._workspace.generations, erasure.removals)),
            self._backups(
                [one for one in self._store.backups.all() if one.removals < erasure.removals]
            ),
            *self._kept_of_users(),
        )
        return ErasureReceipt("user", erasure.digest, erasure.moment, events, places)

    def _item_places(self) -> Iterator[ErasurePlace]:
        yield ErasurePlace("answers", "erased", "no worker shows the item any more")
        yield self._database()
        yield self._scratch_place()
        names = with_erased_item(self._workspace.generations, self._store.last_item_erasure())
        yield self._generations(names)
        version = self._store.last_item_erasure()
        yield self._backups(
            [one for one in self._store.backups.all() if one.item_version < version]
        )
        detail = "its id, so that no import brings it back; events of users name it, too"
        yield ErasurePlace("id of the item", "kept", detail)
        yield self._exports([one for one in self._noted() if one.item_version < version])
        yield self._kept_cache()
        detail = (
            "embeddings/items.parquet has its id and vector until the next `serendip embed items`"
        )
        if (self._workspace.embeddings / "items.parquet").exists():
            yield ErasurePlace("exported vectors", "kept", detail)
        detail = (
            "words about it may be in them; answers of an LLM are in the database's call record"
        )
        yield ErasurePlace("reports, synonyms, labels, answers of an LLM", "kept", detail)
        remark = "a picture or sound of the item is a file of yours, in media if an import wrote it"
        yield self._kept_files(remark)

    def _of_the_storage(self) -> Iterator[ErasurePlace]:
        """Where other machines with one URL may have something."""
        settings = self._workspace.settings
        if settings.storage.url and not settings.store.url:
            detail = (
                "one with a copy of this database file answers with the person until that is "
                "copied anew, and its service started again; this receipt does not see it"
            )
            yield ErasurePlace("other machines", "kept", detail)

    def _database(self) -> ErasurePlace:
        if self._store.has_remains():
            detail = f"deleted rows are still to be overwritten: {_AGAIN}"
            return ErasurePlace("database", "pending", detail)
        return ErasurePlace("database", "erased", self._store.scrubbed)

    def _vectors(self, removals: int) -> ErasurePlace:
        """The vectors that ``embed`` wrote where it does by itself."""
        if running := [path.name for path in self._vectors_before(removals, is_running=True)]:
            detail = f"{', '.join(running)}: an `embed` runs, which leaves the user out at its end"
            return ErasurePlace("exported vectors", "pending", detail)
        if names := [path.name for path in self._vectors_before(removals)]:
            detail = f"{', '.join(names)} in embeddings: {_AGAIN}"
            return ErasurePlace("exported vectors", "pending", detail)
        return ErasurePlace("exported vectors", "erased", "embeddings has none from before")

    def _vectors_before(self, removals: int, is_running: bool = False) -> list[Path]:
        """Files of vectors, whole or halved, that were begun before a number of removals.

        Args:
            removals: of the log.
            is_running: whether those that a process is writing are asked for, or all others.
        """
        noted = {self._workspace.folder / one.path: one.removals for one in self._noted()}
        found = []
        for name in EXPORTS:
            path = self._workspace.embeddings / name
            if noted.get(path, -1) < removals:
                halves = sorted(path.parent.glob(f"{name}.*"))
                is_locked = is_being_written(path)
                found += halves if is_locked == is_running else []
                found += [path] if path.exists() and not is_running else []
        return found

    def _exports(self, older: list[Export]) -> ErasurePlace:
        """What commands wrote where they were told to; it is not the engine's to delete."""
        folder = self._workspace.folder
        own = {self._workspace.embeddings / name for name in EXPORTS}
        paths = {one.path: folder / one.path for one in older if folder / one.path not in own}
        is_there = [name for name, path in paths.items() if path.exists() or is_being_written(path)]
        if is_there:
            detail = f"{', '.join(is_there)}: written or begun before; delete it"
            return ErasurePlace("exports", "pending", detail)
        if moved := [name for name in paths if Path(name).is_absolute()]:
            detail = (
                f"{', '.join(moved)} was written before and is not there: delete what became of it"
            )
            return ErasurePlace("exports", "kept", detail)
        return ErasurePlace("exports", "erased", "none from before is known")

    def _noted(self) -> list[Export]:
        return self._store.exports.all()

    def _scratch_place(self) -> ErasurePlace:
        """Copies of the log that a training, a backup or another job works with."""
        folders = self._scratch()
        if not folders:
            return ErasurePlace("scratch", "erased", "no job has a copy of the log")
        if any(map(is_locked, folders.values())):
            detail = "a job runs that may have begun before; its copy of the log goes with it"
            return ErasurePlace("scratch", "pending", detail)
        detail = f"a killed job left a copy of the log: {_AGAIN}"
        return ErasurePlace("scratch", "pending", detail)

    def _generations(self, names: list[str]) -> ErasurePlace:
        """The generations; they have numbers and words that several people typed, and no ids."""
        if not names:
            return ErasurePlace("generations", "erased", "none was trained before")
        detail = (
            f"{', '.join(names)} learned before, suggested queries included; the next "
            f"`serendip train` removes them, and no rollback leads back"
        )
        return ErasurePlace("generations", "pending", detail)

    def _backups(self, older: list[Backup]) -> ErasurePlace:
        """Backups made before, until somebody says that they are deleted: one may be elsewhere."""
        if not older:
            return ErasurePlace("backups", "erased", "none from before is known")
        names = ", ".join(one.target for one in older)
        detail = f"{names} were made before: delete them, then `serendip backup --forget`"
        return ErasurePlace("backups", "pending", detail)

    def _kept_of_users(self) -> Iterator[ErasurePlace]:
        yield self._kept_cache()
        detail = "figures of groups, and queries that several people typed; no ids"
        yield ErasurePlace("reports, synonyms, labels, answers of an LLM", "kept", detail)
        yield self._kept_files("imports leave out what they have about the user from before")
        detail = "a visitor of the page keeps theirs; what they do from now on counts"
        yield ErasurePlace("cookies", "kept", detail)

    def _kept_cache(self) -> ErasurePlace:
        detail = "vectors by the hashes of texts, without texts and ids; it may be deleted"
        return ErasurePlace("cache", "kept", detail)

    def _kept_files(self, remark: str) -> ErasurePlace:
        settings = self._workspace.settings
        tables = (settings.items, settings.events, settings.users)
        names = ", ".join(str(table.path) for table in tables if table.path) or "none"
        return ErasurePlace("files of yours", "kept", f"{names}: {remark}")

    def _scratch(self) -> dict[Path, Path]:
        """Folder of a job with copies of data -> the folder that it has locked while it runs."""
        training, reports = self._workspace.training, self._workspace.reports
        found = {path: training for path in sorted(training.glob(f"{SCRATCH}*"))}
        backups = sorted(self._workspace.folder.glob(f"{BACKUP_SCRATCH}*"))
        others = [*find_scratch(training), *find_scratch(reports)]
        return found | {path: path for path in (*backups, *others)}

    def _vectors_of_erased(self) -> list[Path]:
        removals = [one.removals for one in self._store.erasures().by_digest.values()]
        return self._vectors_before(max(removals, default=-1))


def remove_remains(folder: str) -> None:
    """Remove the bytes of all who were erased from a workspace; what fails is left for later.

    Args:
        folder: the workspace.
    """
    workspace = Workspace.open(Path(folder))
    try:
        with closing(workspace.open_store()) as store:
            Eraser(workspace, store).remove_remains()
    except SerendipError as error:
        _log.warning("bytes of erased users or items will be removed later: %s", error)


class Removal(Protocol):
    """A process that removes bytes."""

    def run(self) -> int:
        """Run it to its end; the exit code.

        Raises:
            OSError: it cannot be started.
        """
        ...

    def stop(self) -> None:
        """End it."""
        ...


def _open_process(folder: str) -> Removal:
    return BackgroundProcess(remove_remains, folder)


class RemainsRemover:
    """Removes bytes beside a service: one process at a time, and another one for later erasures.

    It rests between two of them, so that any number of erasures takes a bounded share of a core.

    Args:
        folder: the workspace.
        clock: monotonic seconds.
        open_process: makes the process for a workspace, which is not started yet.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
        open_process: Callable[[str], Removal] = _open_process,
    ) -> None:
        self._folder, self._clock, self._open_process = folder, clock, open_process
        self._looked_at, self._retry_s = clock(), RETRY_S
        self._rests_until = -math.inf
        self._lock = threading.Lock()
        self._process: Removal | None = None
        self._is_wanted = self._is_closed = False

    def begin(self) -> None:
        """Remove the bytes of all who are erased by now, after the rest; returns at once."""
        with self._lock:
            self._is_wanted, self._retry_s = True, RETRY_S
            self._start_if_due()

    def resume(self, has_remains: Callable[[], bool]) -> None:
        """Go on with what was begun or interrupted, here or in another process; returns at once.

        It looks for what was interrupted after ``RETRY_S`` seconds first, and each time that some
        is found after twice as many.
        """
        with self._lock:
            self._start_if_due()
            now = self._clock()
            if self._process is not None or now - self._looked_at < self._retry_s:
                return
            self._looked_at = now
        if has_remains():
            with self._lock:
                self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
                self._is_wanted = True
                self._start_if_due()

    def close(self) -> None:
        """End the process if there is one; whoever serves next goes on."""
        with self._lock:
            self._is_closed, process = True, self._process
        if process is not None:
            process.stop()

    def _start_if_due(self) -> None:
        if not self._is_wanted or self._process is not None or self._is_closed:
            return
        if self._clock() < self._rests_until:
            return
        process = self._open_process(os.fspath(self._folder))
        try:
            threading.Thread(target=self._run, args=(process,), name="eraser").start()
        except RuntimeError as error:  # no more threads; it is still wanted
            _log.warning("bytes of erased users or items will be removed later: %s", error)
            return
        self._process, self._is_wanted = process, False

    def _run(self, process: Removal) -> None:
        begun, rest_s = self._clock(), RETRY_S
        try:
            process.run()
            rest_s = REST * (self._clock() - begun)
        except OSError as error:
            _log.warning("bytes of erased users or items will be removed later: %s", error)
            with self._lock:
                self._is_wanted = True
        finally:
            with self._lock:
                self._process = None
                self._rests_until = self._clock() + rest_s
                self._start_if_due()
