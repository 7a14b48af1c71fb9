"""``serendip restore``: makes a workspace of a backup, after everything in it was verified.

A backup may come from anywhere. Nothing of it is put in place before its names, sizes and checksums
are as its manifest says, the database is intact, and the settings can be read. Its files move into
their place together, the settings last: a folder without them is no workspace.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from serendip.data.store.base import Database
from serendip.data.store.config import DATABASE_FILE, StoreConfig
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.artefacts.generations import current_name, open_current
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.jobs.backup.folder import BackupFolder, fill
from serendip.jobs.backup.table_copy import copy_rows, open_target
from serendip.runtime.versions import MANIFEST

_GENERATIONS = "generations"
_AGAIN = "Restore another backup; nothing was changed."
_ACTIVE = re.compile(
    r"\b(VIRTUAL|CHECK|CONFLICT|GENERATED|REFERENCES|COLLATE)\b|\bAS\s*\(", re.IGNORECASE
)
"""Words of definitions that change or refuse rows; no table of this code has one."""

_OTHERWISE = "Restore --without-generation, and train again; nothing was changed."


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
    """Make a workspace of a backup.

    Args:
        source: of the backup, a path or a URL.
        folder: of the new workspace; missing or empty.
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
    if erasures_of is not None and (erasures_of / MANIFEST).exists():
        raise ConfigError(
            f"{erasures_of} is a backup, which opening would change.",
            "Restore it into a folder of its own, and name that.",
        )
    backup = BackupFolder.of(source)
    manifest = backup.read_manifest()
    without = None if with_generation else _GENERATIONS
    try:
        with ExitStack() as stack:
            rows = stack.enter_context(open_target(_check_url(database))) if database else None
            staged = stack.enter_context(fill(target, SETTINGS_FILE))
            if damage := backup.find_damage(manifest, staged, without):
                hint = _OTHERWISE if damage.startswith(f"'{_GENERATIONS}/") else _AGAIN
                raise ArtefactError(f"{backup.name}: {damage}.", hint)
            generation = _verify(staged, bool(database))
            erased = (0, 0) if erasures_of is None else _erase_again(staged, erasures_of)
            with closing(Store.open(staged / DATABASE_FILE)) as store:
                counts = store.count_items(), store.log.count()
            keys = _settle_keys(staged, erasures_of, revoke_keys)
            if rows is not None:  # they are committed once the files are in place
                _move_rows(staged / DATABASE_FILE, *rows)
    except OSError as error:
        raise StorageError(f"{folder} cannot be restored: {error}.", _AGAIN) from None
    return RestoreSummary(str(folder), manifest["created"], *counts, generation, *erased, keys)


def _move_rows(path: Path, target: Database, writing: Connection) -> None:
    with closing(open_database(path)) as database, database.read() as reading:
        copy_rows(database, reading, target, writing)
    path.unlink()


def _check_url(text: str) -> str:
    """The URL of a PostgreSQL database as it was given; an error does not show it."""
    try:
        return StoreConfig(url=text).url
    except ValueError:
        raise ConfigError(
            "--database is no URL of a PostgreSQL database.",
            "Give postgresql+psycopg://user:password@host/database.",
        ) from None


def _verify(staged: Path, is_for_server: bool) -> str:
    """Check everything that a service reads; name of the generation, empty = there is none."""
    workspace = Workspace.open(staged)
    if workspace.settings.store.url and not is_for_server:
        raise ConfigError(
            "the settings name a database on a server, whose rows are not those of the backup.",
            "Give --database with the URL of an empty one; nothing was changed.",
        )
    database = staged / DATABASE_FILE
    if foreign := _foreign_part(database):
        raise ArtefactError(
            f"the database in the backup has a part that is not of this code: {foreign}.", _AGAIN
        )
    with closing(Store.create(database)) as store:  # upgrades an earlier version
        if damage := store.database.integrity():
            raise ArtefactError(f"the database in the backup is damaged: {damage[0]}.", _AGAIN)
    name = current_name(workspace.generation_folder)
    if name:
        open_current(workspace.generation_folder)
    return name


def _foreign_part(path: Path) -> str:
    """Name a trigger, a view or an active definition of a SQLite file; empty = there is none."""
    with closing(open_database(path)) as database, database.read() as connection:
        parts = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
    for kind, name, definition in parts:
        if kind not in ("table", "index") or _ACTIVE.search(definition or ""):
            return f"{kind} {str(name)[:80]!r}"
    return ""


def _erase_again(staged: Path, known: Path) -> tuple[int, int]:
    """Erase whoever was erased from another copy of the workspace since; numbers of both kinds."""
    with (
        closing(Store.open(staged / DATABASE_FILE)) as store,
        closing(Workspace.open(known).open_store()) as other,
    ):
        users = store.erase_all(other.erasures())
        again = sorted(set(other.erased_items()) - set(store.erased_items()))
        # Ids of those that the backup did not have yet are kept, too: no import brings them back.
        items = sum([store.erase_item(item_id) for item_id in again])
        with suppress(StorageError):
            store.remove_erased()
    return users, items


def _settle_keys(staged: Path, known: Path | None, revoke_all: bool) -> tuple[str, ...]:
    """Revoke keys that another copy of the workspace has revoked, or all; the ids of the others."""
    now = time.time()
    revoked: dict[str, float | None] = {}
    if known is not None:
        with closing(ApiKeys.open(Workspace.open(known).database)) as other:
            revoked = {key_id: key.revoked for key_id, key in other.read().keys.items()}
    with closing(ApiKeys.open(staged / DATABASE_FILE)) as keys:
        own = keys.read().keys
        if revoke_all and own:
            keys.renew_secret()
            revoked = dict.fromkeys(own, now)
        for key_id in own:
            if moment := revoked.get(key_id):
                keys.revoke(key_id, moment)
        left = keys.read().keys.items()
    return tuple(key_id for key_id, key in left if key.state(now) == "active")
