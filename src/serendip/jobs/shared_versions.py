"""What commands build for trainings, in the storage that several machines share."""

from __future__ import annotations

import logging
from contextlib import suppress

from serendip.data.objects.mirrored_versions import MirroredVersions
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConflictError, LockedError, StorageError
from serendip.jobs.relevance.versions import model_places, model_versions
from serendip.jobs.semantic_ids.versions import id_versions
from serendip.jobs.suggestions.build import query_versions
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.versions import Versions

_log = logging.getLogger(__name__)


def share_versions(workspace: Workspace) -> None:
    """Publish what this machine had built before it had a storage, where that has nothing yet.

    What a command is building here is left to the next call, and what is damaged to whoever reads
    it.

    Raises:
        StorageError: the storage cannot be reached or written to.
    """
    for versions in _shared(workspace):
        if not versions.is_alone():
            continue
        try:
            # Refused, the storage has that of another machine now.
            with exclusive_lock(versions.folder), suppress(ConflictError):
                versions.share()
        except LockedError as error:
            _log.warning("a later training stores what is here: %s", error.message)


def fetch_versions(workspace: Workspace) -> list[str]:
    """Fetch the current versions that a storage has, where this machine lacks them.

    Returns:
        what is wrong with those that are damaged in the storage, or whether it has any is not
        known, as it is out of reach.
    """
    problems: list[str] = []
    unknown: dict[str, StorageError] = {}
    for versions in _shared(workspace):
        try:
            versions.current(verify=False)
        except ArtefactError as error:
            problems.append(str(error))
        except StorageError as error:
            unknown[versions.mirror.objects.name] = error
    if unknown:
        problems.append(f"what may lie in {', '.join(unknown)}: {next(iter(unknown.values()))}")
    return problems


def _shared(workspace: Workspace) -> list[MirroredVersions]:
    """Versions of semantic IDs, suggested queries and relevance models, if a storage has them."""
    built: list[Versions] = [
        id_versions(workspace.semantic_ids),
        query_versions(workspace),
        *map(model_versions, model_places(workspace).values()),
    ]
    return [versions for versions in built if isinstance(versions, MirroredVersions)]
