"""Erasure of users and items, and the receipt that names every place and its state.

Erasing has two halves. The first is one transaction: from its end on no answer that is computed
from the store knows the user (a fallback of another worker may, until that worker reads the log
again), and nothing that happened before is stored again. The second removes bytes: it writes the
database again, and removes exported vectors. It takes time in proportion to the database and may be
interrupted at any moment: a service, or the next erasure, import or training goes on with it. What
a generation learned ends with the next training (``engine.artefacts.generations``).

A receipt has no id of a user, so that it can be kept. ``Eraser.find_receipt`` gives, for the id,
the receipt of the last erasure with the present state; erasing again is another erasure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from serendip.data.store.store import Store
from serendip.data.store.tables.erasures import DataCopy, UserErasure
from serendip.data.store.validation import id_problem
from serendip.engine.artefacts.generations import ITEM_VERSION, REMOVALS, with_erased
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, LockedError, SerendipError
from serendip.runtime.atomic_files import (
    find_scratch,
    is_being_written,
    is_locked,
    remove_abandoned,
)

_log = logging.getLogger(__name__)

PlaceState = Literal["erased", "pending", "kept"]

EXPORTS = ("users.parquet", "queries.parquet")  # they name users, or what they typed
# Least seconds between two removals of a service, and times that the last one took: each writes
# the database again as a whole, however many were erased, so that many erasures share one.
PAUSE_S, REST = 30.0, 4.0
_AGAIN = "a running service goes on with it, as do `serendip erase`, an import and a training"


_REMAINS = f"deleted rows are still to be overwritten: {_AGAIN}"
# Behind names of places.
_WRITTEN = ": written or begun before. Those in `embeddings` go by themselves; delete others"
# They have numbers and words that several people typed, and no ids.
_LEARNED = " learned before, suggested queries included; the next `serendip train` removes them, "
_LEARNED += "and no rollback leads back"
_MADE = " were made before: delete them, then `serendip backup --forget`"
_IN_FILES = {
    "user": "imports leave out what they have about the user from before",
    "item": "a picture or sound of the item is one, in media if an import wrote it",
}
_ELSEWHERE = {
    "user": "vectors by hashes of texts, figures of groups, and queries that several people typed; "
    "no ids",
    "item": "words about the item may be in them, and vectors by hashes of texts and files",
}


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
        digest: keyed digest of the user's id, so that the receipt can be kept without the id; of an
            item its id.
        erased_at: when, in ISO 8601: what happened until then is not stored again.
        events: number of events that this call removed.
        since: removals of the log, or version of the items, at which it took effect.
        places: all of them, with their state at this moment.
        is_complete: whether nothing is pending.
    """

    kind: Literal["user", "item"]
    digest: str
    erased_at: str
    events: int
    since: Annotated[int, Field(exclude=True)]
    places: tuple[ErasurePlace, ...] = ()
    is_complete: bool = False


class Eraser:
    """Erases from one workspace; safe to use from many threads."""

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
        """A user's last erasure with the present state of the places; None if there was none."""
        erasure = self._store.erasure(user_id)
        return None if erasure is None else self._user_receipt(erasure, 0)

    def renew(self, receipt: ErasureReceipt) -> ErasureReceipt:
        """The same receipt with the present state of the places."""
        places = tuple(self._places(receipt))
        is_complete = all(place.state != "pending" for place in places)
        return replace(receipt, places=places, is_complete=is_complete)

    def erase_item(self, item_id: str) -> ErasureReceipt:
        """Erase an item, also one that only an import would bring.

        Raises:
            DataError: the id is not valid.
            StorageError: the database cannot be written to; nothing is erased.
        """
        if problem := id_problem(item_id):
            raise DataError(f"item id {item_id[:40]!r} cannot be erased: it {problem}.")
        self._store.erase_item(item_id)
        version = self._store.last_item_erasure()
        return self.renew(ErasureReceipt("item", item_id, _tell(time.time()), 0, version))

    def has_remains(self) -> bool:
        """Whether ``remove_remains`` has anything to do."""
        return bool(
            self._store.has_remains()
            or self._own_exports_of_erased()
            or not all(map(is_locked, self._scratch_folders()))
        )

    def remove_remains(self) -> None:
        """Remove the bytes of all erased users and items but those that a training has to.

        Raises:
            StorageError: another process packs events, or the disk is full; what is left is
                removed by the next call.
        """
        for path in self._own_exports_of_erased():
            path.unlink(missing_ok=True)
        for place in (self._workspace.training, self._workspace.reports):
            remove_abandoned(place)
        self._store.remove_erased()

    def _user_receipt(self, erasure: UserErasure, events: int) -> ErasureReceipt:
        facts = erasure.digest, _tell(erasure.moment), events, erasure.removals
        return self.renew(ErasureReceipt("user", *facts))

    def _places(self, receipt: ErasureReceipt) -> Iterator[ErasurePlace]:
        is_user, store, settings = receipt.kind == "user", self._store, self._workspace.settings

        def find_older(copies: Iterable[DataCopy]) -> list[str]:
            places = ((one.place, one.removals if is_user else one.item_version) for one in copies)
            return [place for place, position in places if position < receipt.since]

        fact = REMOVALS if is_user else ITEM_VERSION
        generations = with_erased(self._workspace.generations, receipt.since, fact)
        exports, backups = find_older(store.exports.all()), find_older(store.backups.all())
        present = [name for name in exports if _files_of(self._workspace.folder / name)]
        moved = [name for name in exports if Path(name).is_absolute()]
        tables = (settings.items, settings.events, settings.users)
        files = [str(table.path) for table in tables if table.path]
        yield ErasurePlace("answers", "erased", "no answer from the store knows any of it any more")
        yield _place("database", _REMAINS if store.has_remains() else "", store.database.scrubbed)
        if moved and not present:
            detail = "written before and not there: delete what became of it"
            yield ErasurePlace("exports", "kept", f"{', '.join(moved)}: {detail}")
        else:
            yield _place("exports", _name(present, _WRITTEN), "none from before is known")
        yield _place("scratch", self._scratch(), "no job has a copy of events")
        yield _place("generations", _name(generations, _LEARNED), "none was trained before")
        yield _place("backups", _name(backups, _MADE), "none from before is known")
        told = ", ".join(files) or "none"
        yield ErasurePlace("files of yours", "kept", f"{told}: {_IN_FILES[receipt.kind]}")
        if receipt.kind == "item":
            detail = "so that no import brings it back; events of users name it, too"
            yield ErasurePlace("id of the item", "kept", detail)
        detail = _ELSEWHERE[receipt.kind]
        yield ErasurePlace("cache, reports, answers of an LLM", "kept", detail)

    def _scratch(self) -> str:
        folders = self._scratch_folders()
        if any(map(is_locked, folders)):
            return "a job runs that may have begun before; its copy of events goes with it"
        return f"a killed job left a copy of events: {_AGAIN}" if folders else ""

    def _own_exports_of_erased(self) -> list[Path]:
        last = self._store.last_erasure()
        own = {self._workspace.embeddings / name for name in EXPORTS}
        older = {
            self._workspace.folder / one.place
            for one in self._store.exports.all()
            if one.removals < last
        }
        return [path for out in own & older if not is_being_written(out) for path in _files_of(out)]

    def _scratch_folders(self) -> list[Path]:
        return [*find_scratch(self._workspace.training), *find_scratch(self._workspace.reports)]


def _tell(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _place(name: str, pending: str, erased: str) -> ErasurePlace:
    return ErasurePlace(name, "pending" if pending else "erased", pending or erased)


def _name(places: Sequence[str], detail: str) -> str:
    return f"{', '.join(places)}{detail}" if places else ""


def _files_of(out: Path) -> list[Path]:
    return sorted(path for path in (out, *out.parent.glob(f"{out.name}.*")) if path.exists())


def remove_remains(folder: str) -> None:
    """Remove the bytes of all who were erased from a workspace; what fails is left for later."""
    workspace = Workspace.open(Path(folder))
    try:
        with closing(workspace.open_store()) as store, store.database.exclusive("erasure"):
            Eraser(workspace, store).remove_remains()
    except LockedError:
        _log.debug("another process removes the bytes of erased users or items")
    except SerendipError as error:
        _log.warning("bytes of erased users or items will be removed later: %s", error)
