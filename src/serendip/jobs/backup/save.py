"""``serendip backup``: an online copy of a workspace, with a checksum of every file.

The database is copied as of one moment while others read and write; events, items and deletions
that were acknowledged before are in it. The copy and the generation in force are verified before
anything is written, and what was written to a disk is read once more.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
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
from serendip.errors import ArtefactError, NotTrainedError, StorageError
from serendip.jobs.backup.folder import FILES, FOLDERS, FORMAT, BackupFolder
from serendip.jobs.backup.table_copy import copy_rows, open_target
from serendip.runtime.atomic_files import link_or_copy
from serendip.runtime.versions import MANIFEST, compute_checksums, seal


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup has.

    Args:
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


def back_up(workspace: Workspace, target: str) -> BackupSummary:
    """Copy a workspace that is in use to an empty folder or one that does not exist, a path or a
    URL.

    Raises:
        ConfigError: the target is not empty, or cannot be used.
        StorageError: the database is damaged, or the target cannot be read or written;
            nothing is left at the target.
    """
    folder = BackupFolder.of(target)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with closing(workspace.open_store()) as store:
        with suppress(StorageError):  # Somebody packs: then the copy is noted as older.
            store.remove_erased()
        try:
            with folder.claim(workspace.training) as staged:
                # It is in the list of backups from before its first byte, as old as any erasure.
                store.backups.end(DataCopy(folder.name, 0, 0))
                facts, damage = _stage(workspace, store, staged)
                store.backups.end(DataCopy(folder.name, facts["removals"], facts["item_version"]))
                sizes = _write_manifest(staged, {"created": created, **facts})
        except BaseException as error:
            if folder.is_gone():
                store.backups.forget(folder.name)
            if not isinstance(error, OSError):
                raise
            hint = "Nothing is left there." if folder.is_gone() else "Delete what is left there."
            raise StorageError(f"{folder.name} cannot be written: {error}.", hint) from None
    told = {name: facts[name] for name in ("items", "events", "generation")}
    return BackupSummary(folder.name, created, len(sizes), sum(sizes), damage=damage, **told)


def verify(target: str) -> int:
    """Compare every file of a backup with its manifest; returns their number.

    Raises:
        ArtefactError: the backup is incomplete or altered.
        StorageError: it cannot be read.
    """
    folder = BackupFolder.of(target)
    manifest = folder.read_manifest()
    if damage := folder.find_damage(manifest):
        raise ArtefactError(f"{folder.name}: {damage}.", "Make another backup.")
    return len(manifest["files"])


def _stage(workspace: Workspace, store: Store, staged: Path) -> tuple[dict[str, Any], str]:
    """Copy the database and what belongs to it into a folder, and verify both.

    Returns:
        facts of the copy for the manifest, and why the published generation is not in it. The
        fact ``removals`` is 0 if bytes of erased users are in it: it is as old as any erasure. It
        and ``item_version`` are those of the generation, which may have learned from an erased
        user.

    Raises:
        StorageError: the database is damaged or cannot be read.
    """
    generation, damage = _stage_generation(workspace, staged / "generations")
    for name in FILES:
        if name != DATABASE_FILE and (workspace.folder / name).is_file():
            shutil.copyfile(workspace.folder / name, staged / name)
    for name in FOLDERS:
        if name != "generations":
            _link_tree(workspace.folder / name, staged / name)
    path, database = staged / DATABASE_FILE, store.database
    if not database.copy_file(path):  # it is on a server
        with open_target(path) as (target, writing), database.read() as reading:
            copy_rows(database, reading, target, writing)
    with closing(Store.open(path)) as copy:
        if broken := copy.database.integrity():
            raise StorageError(f"the database is damaged: {broken[0]}.", "See `serendip doctor`.")
        learned = open_current(staged / "generations").manifest if generation else {}
        removals = 0 if copy.has_remains() else copy.log.position().removals
        version = copy.max_version()
        facts = {
            "removals": min(removals, int(learned.get(REMOVALS, removals))),
            "item_version": min(version, int(learned.get(ITEM_VERSION, version))),
            "items": copy.count_items(),
            "events": copy.log.count(),
            "generation": generation,
        }
    return facts, damage


def _stage_generation(workspace: Workspace, target: Path) -> tuple[str, str]:
    """Copy and verify the published generation; its name, empty = none, and why.

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
    """Link or copy the plain files below a folder that are not hidden.

    What is linked is not removed while the backup is made. What is gone by then is of an old
    version: the current one never is, unless two are published meanwhile.
    """
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        is_hidden = any(part.startswith(".") and part != ".managed.json" for part in relative.parts)
        if is_hidden or path.is_symlink() or not path.is_file():
            continue
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            link_or_copy(path, target / relative)


def _write_manifest(staged: Path, facts: Mapping[str, Any]) -> list[int]:
    checksums = compute_checksums(staged)
    manifest = {"format": FORMAT, "code_version": __version__, **facts, "files": checksums}
    (staged / MANIFEST).write_text(seal(manifest), encoding="utf-8")
    return [(staged / name).stat().st_size for name in checksums]
