"""``serendip backup``: an online copy of a workspace, with a checksum of every file.

The database is copied as of one moment while others read and write; events, items and deletions
that were acknowledged before are in it. What belongs to it is verified (``stage``) before anything
is written, and what was written to a disk is read once more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.data.store.tables.backups import Backup, Backups
from serendip.engine.artefacts.erasure import BACKUP_SCRATCH
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, SerendipError, StorageError
from serendip.jobs.backup.folder import FORMAT, BackupFolder, mask_uri
from serendip.jobs.backup.stage import StagedFacts, stage
from serendip.jobs.backup.target import BackupTarget
from serendip.runtime.atomic_files import LOCK, exclusive_lock, flush_tree
from serendip.runtime.progress import Progress
from serendip.runtime.versions import seal


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
        damage: of the published generation and of versions in the storage, which are not in it, or
            what is not known of them; one line each.
    """

    target: str
    created: str
    files: int
    bytes: int
    items: int
    events: int
    generation: str
    damage: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def back_up(workspace: Workspace, target: str, progress: Progress) -> BackupSummary:
    """Copy a workspace that is in use.

    Args:
        workspace: to copy.
        target: an empty folder or one that does not exist, as a path or a URI.
        progress: of the files.

    Raises:
        ConfigError: the target is not empty, or cannot be used.
        StorageError: the database is damaged, or the target cannot be read or written;
            nothing is left at the target.
    """
    folder = BackupFolder.of(target)
    if folder.files():
        raise ConfigError(f"{folder.name} is not empty.", "Give each backup a folder of its own.")
    moment = datetime.now(UTC)
    with closing(workspace.open_store()) as store:
        with suppress(StorageError):  # Somebody packs: then the copy is noted as older.
            store.remove_erased()
        with _scratch(workspace.folder) as staged:
            facts = stage(workspace, store, staged)
            note = Backup(moment.timestamp(), place_of(target), facts.removals, facts.item_version)
            sizes = _write(folder, staged, note, facts, store.backups, progress)
    return BackupSummary(
        folder.name,
        moment.isoformat(timespec="seconds"),
        len(sizes),
        sum(sizes.values()),
        facts.items,
        facts.events,
        facts.generation,
        facts.damage,
    )


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


def place_of(target: str) -> str:
    """How a target is named in the list of backups."""
    return mask_uri(target) if "://" in target else os.path.abspath(target)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder in another one; it is locked before it has the name that others look for."""
    made = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
    staged = made.with_name(made.name.replace(".new-", BACKUP_SCRATCH, 1))
    try:
        with exclusive_lock(made):
            made.rename(staged)
            try:
                yield staged
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(
    folder: BackupFolder,
    staged: Path,
    note: Backup,
    facts: StagedFacts,
    backups: Backups,
    progress: Progress,
) -> dict[str, int]:
    """Write a backup that is in the list from before its first byte; relative path -> size."""
    target = BackupTarget(folder)
    try:
        target.claim()
    except OSError as error:
        raise StorageError(f"{folder.name} cannot be written: {error}.") from None
    try:
        backups.add(note)
        return _write_files(folder, target, staged, note, facts, progress)
    except BaseException as error:
        is_gone = target.remove()
        if is_gone:
            backups.forget(note.target)
        if not isinstance(error, OSError | SerendipError):
            raise
        hint = "Nothing is left there." if is_gone else "Delete what is left there."
        raise StorageError(f"{folder.name} cannot be written: {error}.", hint) from None


def _write_files(
    folder: BackupFolder,
    target: BackupTarget,
    staged: Path,
    note: Backup,
    facts: StagedFacts,
    progress: Progress,
) -> dict[str, int]:
    """Write all staged files and the manifest; relative path -> size."""
    sizes: dict[str, int] = {}
    checksums: dict[str, str] = {}
    paths = list(_plain_files(staged))
    for path in progress.track(paths, "files", len(paths)):
        name = path.relative_to(staged).as_posix()
        sizes[name], checksums[name] = target.write(name, path)
    manifest = {
        "format": FORMAT,
        "code_version": __version__,
        "created": datetime.fromtimestamp(note.created, UTC).isoformat(timespec="seconds"),
        **{key: value for key, value in asdict(facts).items() if key != "damage"},
        "sizes": sizes,
        "files": checksums,
    }
    target.write_manifest(seal(manifest))
    if folder.is_local:
        flush_tree(Path(folder.path))
        if damage := folder.find_damage(manifest, progress):
            raise StorageError(f"it reads back otherwise: {damage}.")
    return sizes


def _plain_files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.rglob("*"))
    yield from (path for path in paths if path.is_file() and path.name != LOCK)
