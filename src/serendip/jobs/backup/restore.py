"""``serendip restore``: makes a workspace of a backup, after everything in it was verified.

A backup may come from anywhere. Nothing of it is put in place before its names and checksums are as
its manifest says, the database is intact, and the settings can be read. Its files move into their
place together, the settings last: a folder without them is no workspace.
"""

from __future__ import annotations

import re
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from serendip.data.store.config import DATABASE_FILE, StoreConfig
from serendip.data.store.database import copy_rows, open_database
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.artefacts.generations import current_name, open_current
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.jobs.backup.save import BackupFolder, fill
from serendip.runtime.versions import MANIFEST

_AGAIN = "Restore another backup; nothing was changed."
_ACTIVE = re.compile(
    r"\b(VIRTUAL|CHECK|CONFLICT|GENERATED|REFERENCES|COLLATE)\b|\bAS\s*\(", re.IGNORECASE
)
"""Words of definitions that change or refuse rows; no table of this code has one."""


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What was restored: numbers of users and items that were erased again, and accepted keys."""

    workspace: str
    created: str
    items: int
    events: int
    generation: str
    erased_users: int
    erased_items: int
    active_keys: tuple[str, ...]


def restore(
    source: str,
    folder: Path,
    erasures_of: Path | None = None,
    with_generation: bool = True,
    revoke_keys: bool = False,
    database: str = "",
) -> RestoreSummary:
    """Make a workspace of a backup, a path or a URL, in a missing or empty folder.

    Whoever was erased from the workspace ``erasures_of``, the one that was backed up or a later
    copy of it, is erased again, and keys that are revoked there are revoked. Without the generation
    nothing of it is read, so that a damaged one does not keep items and events from coming back.
    With the URL of an empty PostgreSQL ``database`` the rows come there, else into a file.

    Raises:
        ConfigError: the folder is not empty, or the settings in the backup are wrong or name a
            database on a server, and ``database`` does not.
        ArtefactError: the backup is incomplete, altered or hostile.
        StorageError: something cannot be read or written, or the database is damaged.
    """
    if erasures_of is not None and (erasures_of / MANIFEST).exists():
        raise ConfigError(
            f"{erasures_of} is a backup, which opening would change.",
            "Restore it into a folder of its own, and name that.",
        )
    try:
        StoreConfig(url=database)
    except ValueError:  # its text shows the URL
        raise ConfigError(
            "--database is no URL of a PostgreSQL database.",
            "Give postgresql+psycopg://user:password@host/database.",
        ) from None
    try:
        with fill(folder.absolute(), SETTINGS_FILE) as staged:
            without = None if with_generation else "generations"
            manifest = BackupFolder(source).read(staged, without)
            generation, path = _verify(staged, bool(database)), staged / DATABASE_FILE
            with closing(Store.open(path)) as store:
                erased = (0, 0) if erasures_of is None else _erase_again(store, erasures_of)
                counts = store.count_items(), store.log.count()
            keys = _settle_keys(path, erasures_of, revoke_keys)
            if database:
                with closing(open_database(path)) as rows:
                    copy_rows(rows, database)
                path.unlink()
    except OSError as error:
        raise StorageError(f"{folder} cannot be restored: {error}.", _AGAIN) from None
    return RestoreSummary(str(folder), manifest["created"], *counts, generation, *erased, keys)


def _verify(staged: Path, is_for_server: bool) -> str:
    """Check everything that a service reads; name of the generation, empty = there is none."""
    workspace = Workspace.open(staged)
    if workspace.settings.store.url and not is_for_server:
        raise ConfigError(
            "the settings name a database on a server, whose rows are not those of the backup.",
            "Give --database with the URL of an empty one; nothing was changed.",
        )
    path = staged / DATABASE_FILE
    with closing(open_database(path)) as database, database.read() as connection:
        parts = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
    for kind, name, definition in parts:
        if kind not in ("table", "index") or _ACTIVE.search(definition or ""):
            raise ArtefactError(
                "the database in the backup has a part that is not of this code: "
                f"{kind} {str(name)[:80]!r}.",
                _AGAIN,
            )
    with closing(Store.create(path)) as store:  # upgrades an earlier version
        if damage := store.database.integrity():
            raise ArtefactError(f"the database in the backup is damaged: {damage[0]}.", _AGAIN)
    generation = current_name(workspace.generation_folder)
    if generation:
        open_current(workspace.generation_folder)
    return generation


def _erase_again(store: Store, known: Path) -> tuple[int, int]:
    """Erase whoever was erased from another copy of the workspace since; numbers of both kinds."""
    with closing(Workspace.open(known).open_store()) as other:
        users, again = store.erase_all(other.erasures()), set(other.erased_items())
    # Ids of those that the backup did not have yet are kept, too: no import brings them back.
    items = sum([store.erase_item(item_id) for item_id in again - set(store.erased_items())])
    with suppress(StorageError):
        store.remove_erased()
    return users, items


def _settle_keys(database: Path, known: Path | None, revoke_all: bool) -> tuple[str, ...]:
    """Revoke keys that another copy of the workspace has revoked, or all; the ids of the others."""
    now, revoked = time.time(), set[str]()
    if known is not None:
        with closing(ApiKeys.open(Workspace.open(known).database)) as other:
            revoked = {name for name, key in other.read().keys.items() if key.revoked is not None}
    with closing(ApiKeys.open(database)) as keys:
        own = keys.read().keys
        if revoke_all:
            revoked = set(own)
        for key_id in own.keys() & revoked:
            keys.revoke(key_id, now)
        left = keys.read().keys.items()
    return tuple(key_id for key_id, key in left if key.state(now) == "active")
