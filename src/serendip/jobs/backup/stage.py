"""The files of a backup, collected beside the workspace and verified, before they are written.

The published generation never changes: it is linked at once, so that it is not removed while the
backup is made.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from serendip.data.store.config import DATABASE_FILE
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import current_name, open_current, set_current
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, StorageError
from serendip.jobs.backup.folder import FILES, FOLDERS
from serendip.llm.ledger_table import METADATA as CALLS
from serendip.runtime.atomic_files import LOCK
from serendip.runtime.sync import place_name

_TRIES = 5
_COPIED = tuple(name for name in FILES if name != DATABASE_FILE)
_VERSIONED = tuple(name for name in FOLDERS if name != "generations")


@dataclass(frozen=True, slots=True)
class StagedFacts:
    """What the copied database says.

    Args:
        removals: how often events had been removed from the log; 0 = bytes of erased users are in
            it, so that it is as old as any erasure.
        item_version: of the items in it.
        items: number of items that are not deleted.
        events: number of events.
        generation: the published one; empty = none is in the backup.
        damage: of the published generation and of versions in the storage, which are not in it, or
            what is not known of them; one line each.
    """

    removals: int
    item_version: int
    items: int
    events: int
    generation: str = ""
    damage: str = ""


def stage(workspace: Workspace, store: Store, staged: Path) -> StagedFacts:
    """Copy the database, link what belongs to it into an empty folder, and verify both.

    Raises:
        StorageError: the database is damaged or cannot be read.
    """
    for name in _COPIED:
        if (workspace.folder / name).is_file():
            shutil.copyfile(workspace.folder / name, staged / name)
    for name in _VERSIONED:
        _stage_versions(workspace.folder / name, staged / name)
    store.copy_database(staged / DATABASE_FILE, CALLS)
    with closing(Store.open(staged / DATABASE_FILE)) as copy:
        facts = _facts_of(copy)
    generation, why_none = _stage_generation(workspace, staged)
    return replace(facts, generation=generation, damage=why_none)


def _stage_versions(source: Path, target: Path) -> None:
    """Link a folder whose versions a command may be removing."""
    for _ in range(_TRIES):
        try:
            _link_tree(source, target)
            return
        except FileNotFoundError:
            shutil.rmtree(target, ignore_errors=True)
    raise StorageError(f"files in {source} are replaced again and again.", "Try again later.")


def _facts_of(copy: Store) -> StagedFacts:
    if damage := copy.integrity():
        raise StorageError(f"the database is damaged: {damage[0]}.", "See `serendip doctor`.")
    removals = 0 if copy.has_remains() else copy.log.mark().removals
    return StagedFacts(removals, copy.max_version(), copy.count_items(), copy.count_events())


def _stage_generation(workspace: Workspace, staged: Path) -> tuple[str, str]:
    """Link and verify the published generation; its name, empty = none, and why.

    A damaged one is left out, and one that this machine lacks while the storage is out of reach:
    another training makes a new one, of what is in the database.
    """
    target, name = staged / "generations", ""
    for _ in range(_TRIES):
        try:
            if not (name := current_name(workspace.generations)):
                return "", ""
            generation = open_current(workspace.generations, verify=False)
            if generation.name != name:
                continue
            _link_tree(generation.folder, target / name, is_needed=True)
            set_current(target, name)
            open_current(target)
            return name, ""
        except (FileNotFoundError, ArtefactError) as error:
            shutil.rmtree(target, ignore_errors=True)
            if _is_published(workspace, name):
                return "", str(error)
        except StorageError as error:
            if not workspace.settings.storage.url:
                raise
            shutil.rmtree(target, ignore_errors=True)
            return "", f"what may lie in {place_name(workspace.generations)}: {error}"
    raise StorageError("generations are replaced again and again.", "Try again later.")


def _is_published(workspace: Workspace, name: str) -> bool:
    """Whether a generation is still the published one, or the pointer to it is unreadable."""
    try:
        return current_name(workspace.generations) == name
    except ArtefactError:
        return True


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
