"""``serendip restore``: makes a workspace of a backup, after everything in it was verified.

A backup may come from anywhere. Nothing of it is put in place before its names, sizes and checksums
are as its manifest says, the database and every segment are intact, and the settings can be read.
The workspace appears whole or not at all, where none was.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from serendip.data.store.store import Store
from serendip.engine.generations import current_name, open_current
from serendip.engine.workspace import DATABASE_FILE, Workspace
from serendip.errors import ArtefactError, ConfigError, StorageError
from serendip.jobs.backup.folder import BackupFolder, copy_stream, find_difference
from serendip.runtime.atomic_files import flush_folder, flush_tree
from serendip.runtime.progress import Progress

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
    """

    workspace: str
    created: str
    items: int
    events: int
    generation: str
    erased_users: int
    erased_items: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def restore(
    source: str,
    folder: Path,
    progress: Progress,
    erasures_of: Path | None = None,
    with_generation: bool = True,
) -> RestoreSummary:
    """Make a workspace of a backup.

    Args:
        source: of the backup, a path or a URI.
        folder: of the new workspace; missing or empty.
        progress: of the files.
        erasures_of: the workspace that was backed up, or a later copy of it: whoever was erased
            from it is erased again; None = nobody is.
        with_generation: whether to restore the generation; without it, nothing of it is read, so
            that one that is damaged does not keep items and events from coming back.

    Raises:
        ConfigError: the folder is not empty, or the settings in the backup are wrong.
        ArtefactError: the backup is incomplete, altered or hostile.
        StorageError: something cannot be read or written, or the database is damaged.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ConfigError(
            f"{folder} is not empty.",
            "Restore into a new folder, check it, and put it in the place of the old one.",
        )
    backup = BackupFolder.of(source)
    manifest, found = backup.read_manifest(), backup.files()
    if not with_generation:
        manifest = {**manifest, "files": _without_generation(manifest["files"])}
        found = _without_generation(found)
    if difference := find_difference(manifest, found):
        raise ArtefactError(f"{backup.name}: {difference}.", _AGAIN)
    target = Path(os.path.abspath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.restoring-{secrets.token_hex(4)}")
    staged.mkdir()
    try:
        _copy(backup, manifest, staged, progress)
        counts = _verify(staged)
        erased = (0, 0) if erasures_of is None else _erase_again(staged, erasures_of)
        flush_tree(staged)
        if target.exists():
            target.rmdir()
        staged.rename(target)
        flush_folder(target.parent)
    except OSError as error:
        raise StorageError(f"{folder} cannot be restored: {error}.", _AGAIN) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return RestoreSummary(str(folder), str(manifest["created"]), *counts, *erased)


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
        with backup.reading(name) as stream, path.open("xb") as out:
            size, checksum = copy_stream(stream, out, manifest["sizes"][name])
        if (size, checksum) != (manifest["sizes"][name], manifest["files"][name]):
            hint = _OTHERWISE if name.startswith("generations/") else _AGAIN
            raise ArtefactError(f"{backup.name}: {name[:80]!r} is altered.", hint)


def _verify(staged: Path) -> tuple[int, int, str]:
    """Check everything that a service reads; numbers of items and events, and the generation."""
    workspace = Workspace.open(staged)
    with closing(workspace.open_store()) as store:
        if damage := store.integrity():
            raise ArtefactError(f"the database in the backup is damaged: {damage[0]}.", _AGAIN)
        store.verify_log()
        counts = store.count_items(), store.count_events()
    name = current_name(workspace.generations)
    if name:
        open_current(workspace.generations)
    return *counts, name


def _erase_again(staged: Path, known: Path) -> tuple[int, int]:
    """Erase whoever was erased from another copy of the workspace since; numbers of both kinds."""
    with (
        closing(Store.open(staged / DATABASE_FILE)) as store,
        closing(Workspace.open(known).open_store()) as other,
    ):
        users = store.erase_all(other.erasures())
        again = sorted(set(other.erased_items()) - set(store.erased_items()))
        items = sum(store.erase_item(item_id) for item_id in again)
        with suppress(StorageError):
            store.remove_erased()
    return users, items
