"""What lies in the storage that machines share, what this one has copies of, and a check of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from serendip.data.checks import CheckResult
from serendip.data.objects.mirror import Mirror, Place
from serendip.data.objects.object_store import ObjectStore
from serendip.engine.artefacts.generations import current_name
from serendip.engine.workspace import LIST_FOLDER, Workspace
from serendip.errors import SerendipError
from serendip.jobs.relevance.versions import model_places


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """One folder of the storage.

    Args:
        url: of it.
        folder: of the copies on this machine.
        stored: names of what is complete there.
        copies: name -> bytes of the copies here.
    """

    url: str
    folder: str
    stored: tuple[str, ...]
    copies: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The storage of a workspace as this machine sees it.

    Args:
        url: of the storage.
        problem: why it cannot be read; empty = it can.
        in_force: name of the generation that it says is in force; empty = none, or not known.
        in_force_here: that of the last one that this machine opened.
        places: the generations, then versions of semantic IDs, suggested queries and relevance
            models where there are any; empty if there is a problem.
    """

    url: str
    problem: str
    in_force: str
    in_force_here: str
    places: tuple[SharedPlace, ...]


def read_storage(workspace: Workspace) -> StorageStatus | None:
    """Where the folders lie that machines share; None = on this machine alone."""
    url = workspace.settings.storage.url
    if not url:
        return None
    here = _name_in(workspace.generation_folder)
    try:
        built = (workspace.semantic_ids, workspace.queries, *model_places(workspace).values())
        places = [one for one in map(_describe, (workspace.generations,)) if one]
        # Each surface may have a relevance model; few have.
        places += [one for one in map(_describe, built) if one and (one.stored or one.copies)]
        in_force = _name_in(workspace.generations)
    except SerendipError as error:
        return StorageStatus(url, str(error), "", here, ())
    return StorageStatus(url, "", in_force, here, tuple(places))


def check_storage(workspace: Workspace) -> list[CheckResult]:
    """Check that the storage can be written to and keeps one of two who write at once."""
    name, place = "storage", workspace.generations
    if not isinstance(place, Mirror):
        return []
    try:
        problem = _find_problem(place.objects)
    except SerendipError as error:
        problem = str(error)
    if problem:
        return [CheckResult(name, "FAIL", 1, 1, problem)]
    message = f"{place.objects.name} can be written to and refuses whoever comes second"
    return [CheckResult(name, "PASS", 0, 1, message)]


def _describe(place: Place) -> SharedPlace | None:
    if not isinstance(place, Mirror):
        return None
    stored = tuple(place.names())
    # Models of lists have a folder of their own in that of the others.
    copies = {name: size for name, size in place.copies().items() if name != LIST_FOLDER}
    return SharedPlace(place.objects.name, str(place.folder), stored, copies)


def _name_in(generations: Place) -> str:
    try:
        return current_name(generations)
    except SerendipError:
        return ""


def _find_problem(objects: ObjectStore) -> str:
    """Write, replace and remove a small object; what does not work, empty = all does."""
    key = f".doctor-{secrets.token_hex(8)}"
    try:
        if not objects.replace(key, b"first", None):
            return f"{objects.name} does not write what is new"
        first = objects.read(key)
        if first is None or first.content != b"first":
            return f"{objects.name} does not have what was written a moment ago"
        refused_second = not objects.replace(key, b"second", None)
        replaced = objects.replace(key, b"third", first.tag)
        refused_late = not objects.replace(key, b"fourth", first.tag)
        if not (refused_second and replaced and refused_late):
            return (
                f"{objects.name} does not obey conditional puts: of two machines that publish at "
                "once the last one would win"
            )
        return ""
    finally:
        objects.remove(objects.sizes(key))
