"""``serendip backup``: an online copy of a workspace, with a checksum of every file.

The database is copied as of one moment while others read and write; events, items and deletions
that were acknowledged before are in it. The segments that this copy names, and the published
generation, never change: they are linked beside the workspace at once, so that none is removed
while the copy is made, and then written to the target. If one was replaced just before it was
linked, the database is copied again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.data.store.backups import Backup
from serendip.data.store.store import LOG_FOLDER, Store
from serendip.engine.erasure import BACKUP_SCRATCH
from serendip.engine.generations import current_name
from serendip.engine.workspace import DATABASE_FILE, Workspace
from serendip.errors import ConfigError, SerendipError, StorageError
from serendip.jobs.backup.folder import FILES, FOLDERS, FORMAT, BackupFolder, mask_uri
from serendip.runtime.atomic_files import LOCK, exclusive_lock, flush_tree
from serendip.runtime.progress import Progress
from serendip.runtime.versions import seal

_TRIES = 5
_COPIED = tuple(name for name in FILES if name != DATABASE_FILE)
_VERSIONED = tuple(name for name in FOLDERS if name not in (LOG_FOLDER, "generations"))


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
        generation: the published one; empty = none was.
    """

    target: str
    created: str
    files: int
    bytes: int
    items: int
    events: int
    generation: str

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
        StorageError: the database, a segment or the target cannot be read or written; nothing is
            left at the target.
    """
    folder = BackupFolder.of(target)
    if folder.files():
        raise ConfigError(f"{folder.name} is not empty.", "Give each backup a folder of its own.")
    moment = datetime.now(UTC)
    with closing(workspace.open_store()) as store:
        with suppress(StorageError):  # Somebody writes segments: then the copy is noted as older.
            store.remove_erased()
        with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=BACKUP_SCRATCH) as scratch:
            staged = Path(scratch)
            with exclusive_lock(staged):
                facts = _stage(workspace, store, staged)
                sizes = _write(folder, staged, moment, facts, progress)
        store.backups.add(Backup(moment.timestamp(), place_of(target), **facts.place))
    return BackupSummary(
        folder.name,
        moment.isoformat(timespec="seconds"),
        len(sizes),
        sum(sizes.values()),
        facts.items,
        facts.events,
        facts.generation,
    )


def place_of(target: str) -> str:
    """How a target is named in the list of backups."""
    return mask_uri(target) if "://" in target else os.path.abspath(target)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the copied database says."""

    removals: int
    item_version: int
    items: int
    events: int
    generation: str = ""

    @property
    def place(self) -> dict[str, int]:
        return {"removals": self.removals, "item_version": self.item_version}


def _stage(workspace: Workspace, store: Store, staged: Path) -> _Facts:
    """Copy the database, and link what belongs to it, into an empty folder."""
    for name in _COPIED:
        if (workspace.folder / name).is_file():
            shutil.copyfile(workspace.folder / name, staged / name)
    for name in _VERSIONED:
        _link_tree(workspace.folder / name, staged / name)
    for _ in range(_TRIES):
        shutil.rmtree(staged / LOG_FOLDER, ignore_errors=True)
        (staged / DATABASE_FILE).unlink(missing_ok=True)
        store.copy_database(staged / DATABASE_FILE)
        with closing(Store.open(staged / DATABASE_FILE)) as copy:
            names = copy.segment_names()
            # With bytes of somebody in its segments it is as old as an erasure may be.
            removals = 0 if copy.count_hidden_segments() else copy.log.mark().removals
            facts = _Facts(
                removals, copy.max_version(), copy.count_items(), copy.count_recorded_events()
            )
        try:
            for name in names:
                segment = Path(LOG_FOLDER, name)
                _link_tree(workspace.folder / segment, staged / segment, is_needed=True)
        except FileNotFoundError:
            continue
        return _Facts(**{**asdict(facts), "generation": _stage_generation(workspace, staged)})
    raise StorageError(
        "segments of the event log are replaced again and again.", "Try again later."
    )


def _stage_generation(workspace: Workspace, staged: Path) -> str:
    """Link the published generation; its name, empty = there is none."""
    target = staged / "generations"
    for _ in range(_TRIES):
        if not (name := current_name(workspace.generations)):
            return ""
        try:
            _link_tree(workspace.generations / name, target / name, is_needed=True)
        except FileNotFoundError:  # A training has removed it just now.
            shutil.rmtree(target, ignore_errors=True)
            continue
        (target / "CURRENT").write_text(f"{name}\n", encoding="ascii")
        return name
    raise StorageError("generations are replaced again and again.", "Try again later.")


def _link_tree(source: Path, target: Path, is_needed: bool = False) -> None:
    """Link or copy the plain files below a folder, which may be missing unless it is needed.

    Raises:
        FileNotFoundError: a file was removed meanwhile.
    """
    if not source.is_dir():
        if is_needed:
            raise FileNotFoundError(source)
        return
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        is_hidden = any(part.startswith(".") and part != ".managed.json" for part in relative.parts)
        if is_hidden or path.name == LOCK or path.is_symlink() or not path.is_file():
            continue
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target / relative)
        except FileNotFoundError:
            raise
        except OSError:  # This file system has no hard links.
            shutil.copyfile(path, target / relative)


def _write(
    folder: BackupFolder, staged: Path, moment: datetime, facts: _Facts, progress: Progress
) -> dict[str, int]:
    """Write all staged files and the manifest; relative path -> size."""
    sizes: dict[str, int] = {}
    checksums: dict[str, str] = {}
    paths = list(_plain_files(staged))
    try:
        for path in progress.track(paths, "files", len(paths)):
            name = path.relative_to(staged).as_posix()
            sizes[name], checksums[name] = folder.write(name, path)
        manifest = {
            "format": FORMAT,
            "code_version": __version__,
            "created": moment.isoformat(timespec="seconds"),
            **asdict(facts),
            "sizes": sizes,
            "files": checksums,
        }
        folder.write_manifest(seal(manifest))
        if folder.is_local:
            flush_tree(Path(folder.path))
    except (OSError, SerendipError) as error:
        with suppress(OSError):
            folder.remove()
        raise StorageError(
            f"{folder.name} cannot be written: {error}.", "Nothing is left there."
        ) from None
    return sizes


def _plain_files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.rglob("*"))
    yield from (path for path in paths if path.is_file() and path.name != LOCK)
