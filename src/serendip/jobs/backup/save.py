"""``serendip backup``: an online copy of a workspace, with a checksum of every file.

The database is copied as of one moment while others read and write; events, items and deletions
that were acknowledged before are in it. The copy and the generation in force are verified before
anything is written, and what was written to a disk is read once more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.data.store.base import Database
from serendip.data.store.config import DATABASE_FILE
from serendip.data.store.store import Store
from serendip.data.store.tables.copies import DataCopy
from serendip.engine.artefacts.generations import (
    ITEM_VERSION,
    REMOVALS,
    open_current,
    set_current,
)
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, NotTrainedError, SerendipError, StorageError
from serendip.jobs.backup.folder import FILES, FOLDERS, FORMAT, BackupFolder
from serendip.jobs.backup.table_copy import copy_rows, open_target
from serendip.runtime.progress import Progress
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.versions import MANIFEST, hash_file, seal


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup has.

    Args:
        target: where it is.
        created: ISO 8601.
        files: number of files.
        bytes: size of all files.
        items: number of items that are not deleted.
        events: number of events.
        generation: the published one; empty = none is in it.
        damage: why the published generation is not in it; empty = it is, or there is none.
    """

    target: str
    created: str
    files: int
    bytes: int
    items: int
    events: int
    generation: str
    damage: str


def back_up(workspace: Workspace, target: str, progress: Progress) -> BackupSummary:
    """Copy a workspace that is in use.

    Args:
        workspace: to copy.
        target: an empty folder or one that does not exist, as a path or a URL.
        progress: of the files.

    Raises:
        ConfigError: the target is not empty, or cannot be used.
        StorageError: the database is damaged, or the target cannot be read or written;
            nothing is left at the target.
    """
    folder = BackupFolder.of(target)
    folder.require_empty()
    created = datetime.now(UTC)
    with closing(workspace.open_store()) as store, scratch_folder(workspace.training) as scratch:
        with suppress(StorageError):  # Somebody packs: then the copy is noted as older.
            store.remove_erased()
        staged = scratch / "files"
        facts, damage = _stage(workspace, store, staged)
        is_new = folder.claim()
        try:
            # It is in the list of backups from before its first byte.
            store.backups.end(DataCopy(folder.name, facts["removals"], facts["item_version"]))
            facts = {"created": created.isoformat(timespec="seconds"), **facts}
            paths = _write(folder, staged, facts, progress)
        except BaseException as error:
            is_gone = folder.clear(is_new)
            if is_gone:
                store.backups.forget(folder.name)
            if not isinstance(error, OSError | SerendipError):
                raise
            hint = "Nothing is left there." if is_gone else "Delete what is left there."
            raise StorageError(f"{folder.name} cannot be written: {error}.", hint) from None
        size = sum(path.stat().st_size for path in paths)
    told = {name: facts[name] for name in ("created", "items", "events", "generation")}
    return BackupSummary(target=folder.name, files=len(paths), bytes=size, damage=damage, **told)


def verify(target: str, progress: Progress) -> int:
    """Compare every file of a backup with its manifest; returns their number.

    Raises:
        ArtefactError: the backup is incomplete or altered.
        StorageError: it cannot be read.
    """
    folder = BackupFolder.of(target)
    manifest = folder.read_manifest()
    if damage := folder.find_damage(manifest, progress):
        raise ArtefactError(f"{folder.name}: {damage}.", "Make another backup.")
    return len(manifest["files"])


def _stage(workspace: Workspace, store: Store, staged: Path) -> tuple[dict[str, Any], str]:
    """Copy the database, link what belongs to it into a new folder, and verify both.

    Returns:
        facts of the copy for the manifest, and why the published generation is not in it. The
        fact ``removals`` is 0 if bytes of erased users are in it: it is as old as any erasure. It
        and ``item_version`` are those of the generation, which may have learned from an erased
        user.

    Raises:
        StorageError: the database is damaged or cannot be read.
    """
    staged.mkdir()
    generation, damage = _stage_generation(workspace, staged / "generations")
    for name in FILES:
        if name != DATABASE_FILE and (workspace.folder / name).is_file():
            shutil.copyfile(workspace.folder / name, staged / name)
    for name in FOLDERS:
        if name != "generations":
            _link_tree(workspace.folder / name, staged / name)
    _copy_database(store.database, staged / DATABASE_FILE)
    with closing(Store.open(staged / DATABASE_FILE)) as copy:
        if broken := copy.database.integrity():
            raise StorageError(f"the database is damaged: {broken[0]}.", "See `serendip doctor`.")
        learned = open_current(staged / "generations").manifest if generation else {}
        removals = 0 if copy.has_remains() else copy.log.mark().removals
        version = copy.max_version()
        facts = {
            "removals": min(removals, int(learned.get(REMOVALS, removals))),
            "item_version": min(version, int(learned.get(ITEM_VERSION, version))),
            "items": copy.count_items(),
            "events": copy.count_events(),
            "generation": generation,
        }
    return facts, damage


def _copy_database(database: Database, path: Path) -> None:
    """Copy the database as of this moment to a SQLite file."""
    if not database.copy_file(path):
        with open_target(path) as (target, writing), database.read() as reading:
            copy_rows(database, reading, target, writing)


def _stage_generation(workspace: Workspace, target: Path) -> tuple[str, str]:
    """Link and verify the published generation; its name, empty = none, and why.

    A damaged one is left out, and one that this machine lacks while the storage is out of reach:
    another training makes a new one, of what is in the database.
    """
    try:
        generation = open_current(workspace.generations, verify=False)
        _link_tree(generation.folder, target / generation.name)
        set_current(target, generation.name)
        open_current(target)
    except NotTrainedError:
        return "", ""
    except (ArtefactError, StorageError) as error:
        shutil.rmtree(target, ignore_errors=True)
        return "", str(error)
    return generation.name, ""


def _link_tree(source: Path, target: Path) -> None:
    """Link or copy the plain files below a folder, pointers to versions before the versions.

    What is linked is not removed while the backup is made. What is gone by then is of an old
    version: the current one never is, unless two are published meanwhile.
    """
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        is_hidden = any(part.startswith(".") and part != ".managed.json" for part in relative.parts)
        if is_hidden or path.is_symlink() or not path.is_file():
            continue
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target / relative)
        except FileNotFoundError:
            continue
        except OSError:  # This file system has no hard links.
            shutil.copyfile(path, target / relative)


def _write(
    folder: BackupFolder, staged: Path, facts: Mapping[str, Any], progress: Progress
) -> list[Path]:
    """Write all staged files, then the manifest; the files."""
    paths = [path for path in sorted(staged.rglob("*")) if path.is_file()]
    checksums = {}
    for path in progress.track(paths, "files", len(paths)):
        name = path.relative_to(staged).as_posix()
        checksums[name] = hash_file(path)
        folder.write(name, path)
    facts = {"format": FORMAT, "code_version": __version__, **facts, "files": checksums}
    manifest = staged / MANIFEST
    manifest.write_text(seal(facts), encoding="utf-8")
    folder.write(MANIFEST, manifest)
    if folder.storage is None and (damage := folder.find_damage(facts, progress)):
        raise StorageError(f"it reads back otherwise: {damage}.")
    return paths
