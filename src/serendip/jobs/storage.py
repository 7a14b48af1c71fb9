"""The storage that several machines share: what it has, and a check of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from serendip.data.checks import CheckResult
from serendip.engine.artefacts.generations import current_name
from serendip.engine.workspace import Workspace
from serendip.errors import SerendipError
from serendip.runtime.sync import SharedFolder, Storage


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The storage of a workspace as this machine sees it.

    Args:
        url: of the storage.
        problem: why it cannot be read; empty = it can.
        in_force: folder of the generation in force there; empty = none, or not known.
        in_force_here: name of the generation in force on this machine.
        stored: folders of complete generations there, the oldest first.
    """

    url: str
    problem: str
    in_force: str
    in_force_here: str
    stored: tuple[str, ...] = ()


def read_storage(workspace: Workspace) -> StorageStatus | None:
    """What the storage has; None = this machine alone has everything."""
    place, here = workspace.generations, _name_here(workspace)
    if not isinstance(place, SharedFolder):
        return None
    url = place.storage.url
    try:
        in_force = place.in_force()
        stored = tuple(place.manifests()) if in_force else ()
    except SerendipError as error:
        return StorageStatus(url, str(error), "", here)
    return StorageStatus(url, "", in_force, here, stored)


def check_storage(workspace: Workspace) -> list[CheckResult]:
    """Check that the storage is the one that it was, and keeps the first of two who write."""
    name, place = "storage", workspace.generations
    if not isinstance(place, SharedFolder):
        return []
    url = place.storage.url
    try:
        if not place.require_marker():
            message = (
                f"{url} was never used: the next training writes to it. If it is a folder of "
                "another machine, check that it is mounted"
            )
            return [CheckResult(name, "WARN", 1, 1, message)]
        problem = _find_problem(place.storage)
    except SerendipError as error:
        problem = str(error)
    if problem:
        return [CheckResult(name, "FAIL", 1, 1, problem)]
    message = f"{url} can be written to and refuses whoever comes second"
    return [CheckResult(name, "PASS", 0, 1, message)]


def _name_here(workspace: Workspace) -> str:
    try:
        return current_name(workspace.generation_folder)
    except SerendipError:
        return ""


def _find_problem(storage: Storage) -> str:
    """Write and remove a small object; what does not work, empty = all does."""
    key = f"doctor-{secrets.token_hex(8)}"
    try:
        if not storage.create(key, b"first") or storage.read(key) != b"first":
            return f"{storage.url} does not have what was written a moment ago"
        if storage.create(key, b"second"):
            return (
                f"{storage.url} does not obey conditional puts: of two machines that publish at "
                "once the last one would win"
            )
        return ""
    finally:
        storage.remove(key)
