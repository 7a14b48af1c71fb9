"""``serendip backup``: an online copy of a workspace, with a checksum of every file.

::

    manifest.json    format, time, SHA-256 of every file, and of itself
    serendip.db      the database; generations/, ... as in a workspace

The database is copied as of one moment while others read and write; events, items and deletions
that were acknowledged before are in it. The copy and the generation in force are verified before
anything is written, and what was written to a disk is read once more. The manifest is in its place
last: a backup without it is not complete. What is read is hostile until every name and checksum is
as the manifest says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from serendip import __version__
from serendip.data.store.config import DATABASE_FILE
from serendip.data.store.database import copy_rows
from serendip.data.store.store import Store
from serendip.data.store.tables.erasures import DataCopy
from serendip.engine.artefacts.generations import (
    ITEM_VERSION,
    REMOVALS,
    open_current,
    set_current,
)
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, NotTrainedError, StorageError
from serendip.runtime.atomic_files import (
    flush_folder,
    flush_tree,
    hash_file,
    link_or_copy,
    scratch_folder,
)
from serendip.runtime.sync import Storage
from serendip.runtime.versions import MANIFEST, compute_checksums, seal, unseal

FORMAT = 2
_OTHER = "Use another backup; nothing was changed"
FILES = ("serendip.toml", "serendip.db", "synonyms.csv")
_FOLDERS = ("generations", "relevance", "queries", "media")  # the others of earlier versions


class BackupFolder:
    """A folder on a disk, by its path, or of an object store, by a URL such as ``s3://bucket/name``.

    A URL of no such storage, or with more than its place, is a ``ConfigError``.
    """

    def __init__(self, place: str) -> None:
        if {"@", "?"} & set(place) and "://" in place:
            raise ConfigError(
                "the URL of a backup has a password or options.",
                "Give s3://bucket/name alone; credentials and server come from the environment.",
            )
        self._storage = Storage(place) if "://" in place else None
        self.name = os.path.abspath(place) if self._storage is None else place

    def names(self) -> set[str]:
        """Relative paths of all that is no folder; empty = there is nothing."""
        if self._storage is not None:
            return set(self._storage.sizes(""))
        path = Path(self.name)
        found = (one for one in path.rglob("*") if one.is_symlink() or not one.is_dir())
        return {one.relative_to(path).as_posix() for one in found}

    @contextmanager
    def claim(self, scratch: Path) -> Iterator[Path]:
        """A folder for the files of a new backup, which nobody else can begin from then on.

        After the block they are in place, the manifest last; of one that fails nothing is left.
        Until then they are in ``scratch``. If the folder is not empty it is a ``ConfigError``.
        """
        with scratch_folder(scratch) as folder:
            staged = folder / "files"
            staged.mkdir()
            if self._storage is None:
                with fill(Path(self.name), MANIFEST) as copy:
                    yield staged
                    shutil.copytree(staged, copy, copy_function=shutil.copyfile, dirs_exist_ok=True)
                    files = unseal((staged / MANIFEST).read_bytes())["files"]
                    if compute_checksums(copy) != files:
                        raise StorageError(f"{self.name} reads back otherwise.", "Try again.")
                return
            if self.names() or not self._storage.create(MANIFEST, os.urandom(8)):
                raise _not_empty(self.name)
            try:
                yield staged
                self._storage.upload_folder("", staged)
            except BaseException:
                with suppress(StorageError):
                    self._storage.remove(*self.names())
                raise

    def read(self, target: Path | None = None, without: str | None = None) -> dict[str, Any]:
        """Read everything again, copied into the target or not, and compare it with the manifest.

        The folder ``without`` is neither read nor looked at. Returns the manifest.

        Raises:
            ArtefactError: the backup is incomplete, altered, hostile or of another format.
            StorageError: something cannot be read or written.
        """
        manifest = self._read_manifest()
        expected, names = dict(manifest["files"]), self.names() - {MANIFEST}
        for name in sorted({*expected, *names}):
            if name.partition("/")[0] == without:
                continue
            problem = ""
            if name not in names:
                problem = "is missing"
            elif name not in expected:
                problem = "is not in the manifest"
            elif not _is_of_workspace(name):
                problem = "is no file of a workspace"
            elif self._read_file(name, target) != expected[name]:
                problem = "is altered"
            if problem:
                of_generation = name.startswith("generations/")
                hint = "Restore --without-generation, and train again" if of_generation else _OTHER
                raise ArtefactError(f"{self.name}: {name[:80]!r} {problem}.", f"{hint}.")
        return manifest

    def _read_manifest(self) -> dict[str, Any]:
        try:
            here, there = Path(self.name) / MANIFEST, self._storage
            manifest = unseal(here.read_bytes() if there is None else there.read(MANIFEST) or b"")
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{self.name} is no complete backup: {MANIFEST} is not readable: {error}.",
                f"{_OTHER}.",
            ) from None
        if manifest.get("format") != FORMAT or not isinstance(manifest.get("created"), str):
            raise ArtefactError(
                f"{self.name} is not of the format {FORMAT}, which this code reads.",
                "Restore it with the version of Serendip that made it.",
            )
        return manifest

    def _read_file(self, name: str, target: Path | None) -> str:
        copy = Path(os.devnull) if target is None else target / name
        if self._storage is not None:
            copy.parent.mkdir(parents=True, exist_ok=True)
            return self._storage.download(name, copy)
        source = Path(self.name) / name
        if not source.is_file() or source.is_symlink():
            return ""
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            return hash_file(source if target is None else copy)
        except OSError as error:
            raise StorageError(f"{self.name} cannot be copied: {error}.") from None


@contextmanager
def fill(target: Path, last: str) -> Iterator[Path]:
    """A folder whose files are moved into one that is missing or empty after the block.

    The file ``last`` comes once all others are there for good. Of a block that fails nothing is
    left. The owner of the files alone may read them. If something is in the target, such as what
    another process moves there, it is a ``ConfigError``.
    """
    is_new = not target.exists()
    if not is_new and not target.is_dir():
        raise _not_empty(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with scratch_folder(target) as scratch:
            staged = scratch / "files"
            staged.mkdir()
            _require_alone(scratch)
            yield staged
            _require_alone(scratch)
            for path in staged.rglob("*"):
                if path.is_file():
                    path.chmod(0o600)
            flush_tree(staged)
            for path in sorted(staged.iterdir(), key=lambda path: path.name == last):
                if path.name == last:
                    flush_folder(target)
                path.rename(target / path.name)
            flush_folder(target)
    finally:
        if is_new:
            with suppress(OSError):  # it is filled
                target.rmdir()


def _require_alone(scratch: Path) -> None:
    if set(scratch.parent.iterdir()) != {scratch}:
        raise _not_empty(scratch.parent)


def _not_empty(place: object) -> ConfigError:
    return ConfigError(f"{place} is not empty.", "Name a new folder, or an empty one.")


def _is_of_workspace(name: str) -> bool:
    """Whether a path leads nowhere but to a place that a backup has something of."""
    path = PurePosixPath(name)
    if str(path) != name or ".." in path.parts or not name.isprintable():
        return False
    return name in FILES or (len(path.parts) > 1 and path.parts[0] in _FOLDERS)


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup has."""

    target: str
    created: str
    files: int
    bytes: int
    items: int
    events: int
    generation: str
    damage: str  # why the published generation is not in it; empty = it is, or there is none


def back_up(workspace: Workspace, target: str) -> BackupSummary:
    """Copy a workspace that is in use to an empty or new folder, a path or a URL.

    Raises:
        ConfigError: the target is not empty, or cannot be used.
        StorageError: the database is damaged, or the target cannot be read or written;
            nothing is left at the target.
    """
    folder = BackupFolder(target)
    with closing(workspace.open_store()) as store:
        with suppress(StorageError):  # Somebody packs: then the copy is noted as older.
            store.remove_erased()
        try:
            with folder.claim(workspace.training) as staged:
                # It is in the list of backups from before its first byte, as old as any erasure.
                store.backups.end(DataCopy(folder.name, 0, 0))
                summary, copy = _stage(workspace, store, staged, folder.name)
                store.backups.end(copy)
        except BaseException as error:
            is_gone = False
            with suppress(OSError, StorageError):
                if is_gone := not folder.names():
                    store.backups.forget(folder.name)
            if not isinstance(error, OSError):
                raise
            hint = "Nothing is left there." if is_gone else "Delete what is left there."
            raise StorageError(f"{folder.name} cannot be written: {error}.", hint) from None
    return summary


def verify(target: str) -> int:
    """Compare every file of a backup with its manifest, see ``BackupFolder``; their number."""
    return len(BackupFolder(target).read()["files"])


def _stage(
    workspace: Workspace, store: Store, staged: Path, name: str
) -> tuple[BackupSummary, DataCopy]:
    """Copy the database and what belongs to it into a folder, and verify both."""
    learned, damage = _stage_generation(workspace, staged / "generations")
    for file in FILES:
        if file != DATABASE_FILE and (workspace.folder / file).is_file():
            shutil.copyfile(workspace.folder / file, staged / file)
    path = staged / DATABASE_FILE
    if not store.database.copy_file(path):  # it is on a server
        copy_rows(store.database, path)
    with closing(Store.open(path)) as copy:
        if broken := copy.database.integrity():
            raise StorageError(f"the database is damaged: {broken[0]}.", "See `serendip doctor`.")
        # With bytes of erased users it is as old as any erasure.
        removals = 0 if copy.has_remains() else copy.log.position().removals
        version, counts = copy.max_version(), (copy.count_items(), copy.log.count())
    # The generation may have learned from an erased user.
    removals = min(removals, int(learned.get(REMOVALS, removals)))
    version = min(version, int(learned.get(ITEM_VERSION, version)))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    files = compute_checksums(staged)
    facts = {"format": FORMAT, "code_version": __version__, "created": created, "files": files}
    (staged / MANIFEST).write_text(seal(facts), encoding="utf-8")
    size = sum((staged / file).stat().st_size for file in files)
    generation = str(learned.get("name", ""))
    summary = BackupSummary(name, created, len(files), size, *counts, generation, damage)
    return summary, DataCopy(name, removals, version)


def _stage_generation(workspace: Workspace, target: Path) -> tuple[Mapping[str, Any], str]:
    """Copy and verify the published generation; its manifest, empty = there is none, and why.

    A damaged one is left out, and one that this machine lacks while the storage is out of reach:
    another training makes a new one, of what is in the database.
    """
    try:
        generation = open_current(workspace.generations, verify=False)
        copy = target / generation.name
        shutil.copytree(generation.folder, copy, copy_function=link_or_copy)
        set_current(target, generation.name)
        return open_current(target).manifest, ""
    except NotTrainedError:
        return {}, ""
    except (ArtefactError, StorageError, shutil.Error) as error:
        shutil.rmtree(target, ignore_errors=True)
        return {}, str(error)
