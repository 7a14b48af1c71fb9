"""``serendip restore``: makes a workspace of a backup, after everything in it was verified.

A backup may come from anywhere. Nothing of it is put in place before its names, sizes and checksums
are as its manifest says, the database is intact, and the settings can be read. Its files move into
their place together, the settings last: a folder without them is no workspace.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from serendip.data.items.catalogue import Item
from serendip.data.store.config import DATABASE_FILE
from serendip.data.store.foreign_parts import find_foreign_part
from serendip.data.store.store import Store
from serendip.data.store.table_copy import CopyEnd, copy_rows, open_target
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.artefacts.generations import current_name, open_current
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.jobs.backup.folder import BackupFolder, copy_stream, find_difference
from serendip.jobs.copy_store import all_tables, check_url
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress
from serendip.runtime.staging import is_free, put_in_place, stage
from serendip.runtime.versions import MANIFEST

T = TypeVar("T")

_AGAIN = "Restore another backup; nothing was changed."
_OTHERWISE = "Restore --without-generation, and train again; nothing was changed."


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What was restored.

    Args:
        workspace: folder of the new workspace.
        created: of the backup, ISO 8601.
        items: number of items that are not deleted.
        events: number of events.
        generation: the published one; empty = none is.
        erased_users: users of the backup who were erased again.
        erased_items: items of the backup that were erased again.
        active_keys: ids of the API keys that are accepted.
    """

    workspace: str
    created: str
    items: int
    events: int
    generation: str
    erased_users: int
    erased_items: int
    active_keys: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def restore(
    source: str,
    folder: Path,
    progress: Progress,
    erasures_of: Path | None = None,
    with_generation: bool = True,
    revoke_keys: bool = False,
    database: str = "",
) -> RestoreSummary:
    """Make a workspace of a backup.

    Args:
        source: of the backup, a path or a URI.
        folder: of the new workspace; missing or empty.
        progress: of the files.
        erasures_of: the workspace that was backed up, or a later copy of it: whoever was erased
            from it is erased again, and keys that are revoked there are revoked; None = nobody is.
        with_generation: whether to restore the generation; without it, nothing of it is read, so
            that one that is damaged does not keep items and events from coming back.
        revoke_keys: whether to revoke all keys, and to draw the secret anew that signs cookies.
        database: URL of an empty PostgreSQL database for the rows; empty = a file.

    Raises:
        ConfigError: the folder is not empty, or the settings in the backup are wrong or name a
            database on a server, and ``database`` does not.
        ArtefactError: the backup is incomplete, altered or hostile.
        StorageError: something cannot be read or written, or the database is damaged.
    """
    target = Path(os.path.abspath(folder))
    _require_free(target, folder, erasures_of)
    backup = BackupFolder.of(source)
    manifest, found = backup.read_manifest(), backup.files()
    if not with_generation:
        manifest = {**manifest, "files": _without_generation(manifest["files"])}
        found = _without_generation(found)
    if difference := find_difference(manifest, found):
        raise ArtefactError(f"{backup.name}: {difference}.", _AGAIN)
    try:
        with stage(target) as staged:
            _copy(backup, manifest, staged, progress)
            counts = _verify(staged, bool(database))
            erased = (0, 0) if erasures_of is None else _erase_again(staged, erasures_of)
            keys = _settle_keys(staged, erasures_of, revoke_keys)
            with _rows_moved(staged, database):
                flush_tree(staged)
                put_in_place(staged, target, SETTINGS_FILE)
    except OSError as error:
        raise StorageError(f"{folder} cannot be restored: {error}.", _AGAIN) from None
    return RestoreSummary(str(folder), manifest["created"], *counts, *erased, keys)


def _require_free(target: Path, folder: Path, erasures_of: Path | None) -> None:
    if not is_free(target):
        raise ConfigError(
            f"{folder} is not empty.",
            "Restore into a new folder, check it, and put it in the place of the old one.",
        )
    if erasures_of is not None and (erasures_of / MANIFEST).exists():
        raise ConfigError(
            f"{erasures_of} is a backup, which opening would change.",
            "Restore it into a folder of its own, and name that.",
        )


def _without_generation(files: Mapping[str, T]) -> dict[str, T]:
    return {name: value for name, value in files.items() if not name.startswith("generations/")}


def _copy(
    backup: BackupFolder, manifest: Mapping[str, Any], staged: Path, progress: Progress
) -> None:
    """Copy every file and compare it with its checksum on the way."""
    names = sorted(manifest["files"])
    for name in progress.track(names, "files", len(names)):
        path = staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with backup.reading(name) as stream, open(path, "xb", opener=_open_private) as out:
            size, checksum = copy_stream(stream, out, manifest["sizes"][name])
        if (size, checksum) != (manifest["sizes"][name], manifest["files"][name]):
            hint = _OTHERWISE if name.startswith("generations/") else _AGAIN
            raise ArtefactError(f"{backup.name}: {name[:80]!r} is altered.", hint)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _rows_moved(staged: Path, url: str) -> Iterator[None]:
    """Move the rows from the file to a server, if there is one; they appear after the block."""
    if not url:
        yield
        return
    path, tables = staged / DATABASE_FILE, all_tables()
    with open_target(check_url(url), tables) as target, target.write(may_pause=True) as writing:
        with closing(Store.open(path)) as store, store.frozen() as reading:
            copy_rows(CopyEnd(store.database, reading), CopyEnd(target, writing), tables)
        path.unlink()
        yield


def _verify(staged: Path, is_for_server: bool) -> tuple[int, int, str]:
    """Check everything that a service reads; numbers of items and events, and the generation."""
    workspace = Workspace.open(staged)
    if workspace.settings.store.url and not is_for_server:
        raise ConfigError(
            "the settings name a database on a server, whose rows are not those of the backup.",
            "Give --database with the URL of an empty one; nothing was changed.",
        )
    database = staged / DATABASE_FILE
    if foreign := find_foreign_part(database):
        raise ArtefactError(
            f"the database in the backup has a part that is not of this code: {foreign}.", _AGAIN
        )
    with closing(Store.open(database)) as store:
        if damage := store.integrity():
            raise ArtefactError(f"the database in the backup is damaged: {damage[0]}.", _AGAIN)
        counts = store.count_items(), store.count_events()
    name = current_name(workspace.generation_folder)
    if name:
        open_current(workspace.generation_folder)
    return *counts, name


def _erase_again(staged: Path, known: Path) -> tuple[int, int]:
    """Erase whoever was erased from another copy of the workspace since; numbers of both kinds."""
    with (
        closing(Store.open(staged / DATABASE_FILE)) as store,
        closing(Workspace.open(known).open_store()) as other,
    ):
        users = store.erase_all(other.erasures())
        again = sorted(set(other.erased_items()) - set(store.erased_items()))
        known_items = [item_id for item_id in again if store.erase_item(item_id)]
        # An import must not bring back what the backup did not have yet, either.
        for item_id in set(again).difference(known_items):
            store.put_items([Item(item_id, item_id)])
            store.erase_item(item_id)
        with suppress(StorageError):
            store.remove_erased()
    return users, len(known_items)


def _settle_keys(staged: Path, known: Path | None, revoke_all: bool) -> tuple[str, ...]:
    """Revoke keys that another copy of the workspace has revoked, or all; the ids of the others."""
    now = time.time()
    revoked: dict[str, float] = {}
    if known is not None:
        with closing(ApiKeys.open(Workspace.open(known).database)) as other:
            found = other.read().keys.items()
        revoked = {key_id: key.revoked for key_id, key in found if key.revoked is not None}
    with closing(ApiKeys.open(staged / DATABASE_FILE)) as keys:
        own = keys.read().keys
        if revoke_all and own:
            keys.renew_secret()
            revoked = dict.fromkeys(own, now)
        for key_id in own.keys() & revoked.keys():
            keys.revoke(key_id, revoked[key_id])
        left = keys.read().keys.items()
    return tuple(key_id for key_id, key in left if key.state(now) == "active")
