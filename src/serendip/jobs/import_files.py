"""``serendip import``: reads the user's files into the store, in one transaction."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.items.catalogue import Item
from serendip.data.store.item_rows import tabulate_items
from serendip.data.store.store import Store
from serendip.data.store.validation import item_problem
from serendip.engine.artefacts.erasure import remove_remains
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.files.events import EventsRead, read_events
from serendip.files.items import ItemsRead, read_items, read_users

if TYPE_CHECKING:
    import pyarrow as pa

IMPORT_DIGEST = "import_digest"
"""Key of the store's meta table: hash of the imported files and their settings."""
_IMPORTED_EVENTS = "imported_events"
"""Key of the store's meta table: number of events of the imported file."""

_TOLERATED_LOSS = 0.1
"""Share of the items and of the events of an import that the next one may be without."""
_FEW = 10
"""Rows that may always be missing."""


def import_files(workspace: Workspace, allow_loss: bool = False) -> dict[str, Any]:
    """Import all files in place of the previous import; data posted to the API stay.

    Bytes of erased users and items that are left are removed at the end.

    Returns:
        ``items`` and ``events``: number of rows in the database; ``users``: of the users file,
        if there is one; ``deleted_items``: of the import before, which the files have no more, and
        ``erased_events``: of the files, left out as their users were erased after them, if there
        are any.

    Raises:
        DataError: a file, a column or a row is wrong, or too much is missing; the database is
            unchanged.
        StorageError: something cannot be written.
    """
    if Store.exists(workspace.database):
        workspace.create_store().close()  # upgrades an earlier version, whatever the files are
    items = read_items(workspace.settings.items, workspace.folder)
    events = read_events(workspace.settings.events, workspace.folder)
    users = workspace.settings.users
    with workspace.create_store() as store:
        guard = _LossGuard(store, allow_loss)
        counts = store.import_tables(
            lambda: guard.check_items(_read_items(workspace, items, events), items.path),
            lambda: guard.check_events(events.table(), events.path),
            lambda: read_users(users, workspace.folder),
        )
        store.set_meta(_IMPORTED_EVENTS, str(guard.num_events))
        store.set_meta(IMPORT_DIGEST, hash_files(workspace))
        summary = {"items": store.count_items(), "events": store.log.count()}
    found = {"deleted_items": counts.deleted_items, "erased_events": counts.erased_events}
    summary |= {name: count for name, count in found.items() if count}
    remove_remains(str(workspace.folder))
    return {**summary, "users": counts.users} if users.path else summary


class _LossGuard:
    """Refuses an import without more than a tenth of the import before."""

    def __init__(self, store: Store, allow_loss: bool) -> None:
        self._allows = allow_loss
        self._items = store.imported_item_ids()
        self.num_events = int(store.meta(_IMPORTED_EVENTS) or 0)

    def check_items(self, items: pa.Table, path: Path | None) -> pa.Table:
        lost = len(self._items.difference(items["item_id"].to_pylist()))
        missing = f"{lost:,} of the {len(self._items):,} items of the import before are missing"
        self._refuse(lost, len(self._items), f"{_name(path)}: {missing}.")
        return items

    def check_events(self, events: pa.Table, path: Path | None) -> pa.Table:
        before, self.num_events = self.num_events, len(events)
        text = f"{_name(path)} has {len(events):,} events; the import before had {before:,}."
        self._refuse(before - len(events), before, text)
        return events

    def _refuse(self, lost: int, before: int, message: str) -> None:
        if lost > _FEW and lost > _TOLERATED_LOSS * before and not self._allows:
            raise DataError(
                message,
                "Nothing was imported. Check that the file is whole; if so many went on purpose, "
                "add --allow-loss.",
            )


def _name(path: Path | None) -> str:
    return "no file" if path is None else path.name


def _read_items(workspace: Workspace, items: ItemsRead, events: EventsRead) -> pa.Table:
    """The items of the file and, if the settings say so, the others that the events name.

    Raises:
        DataError: a row of the items file is broken.
    """
    import pyarrow as pa

    table = items.table()
    if not workspace.settings.items.from_events:
        return table
    known = set(table["item_id"].to_pylist())
    named = (Item(item_id) for item_id in events.item_ids() if item_id not in known)
    others = tabulate_items(item for item in named if not item_problem(item))
    return pa.concat_tables([table, others.cast(table.schema)])


def read_import_digest(workspace: Workspace) -> str | None:
    """Hash of the last import; None if files or settings have changed since, or never imported."""
    if not Store.exists(workspace.database):
        return None
    with workspace.open_store() as store:
        stored = store.meta(IMPORT_DIGEST)
    return stored if stored == hash_files(workspace) else None


def hash_files(workspace: Workspace) -> str:
    """SHA-256 of the files and of the settings that define how they are read."""
    settings = workspace.settings
    digest = hashlib.sha256(settings.items.model_dump_json().encode())
    digest.update(settings.events.model_dump_json().encode())
    if settings.users.path:
        digest.update(settings.users.model_dump_json().encode())
    for name in (settings.items.path, settings.events.path, settings.users.path):
        if name:
            digest.update(_hash_file(workspace.folder / name))
    return digest.hexdigest()


def _hash_file(path: Path) -> bytes:
    if not path.is_file():
        return b"missing"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
