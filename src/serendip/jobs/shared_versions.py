"""What commands build for trainings, in the storage that several machines share."""

from __future__ import annotations

from serendip.data.objects.mirrored_versions import MirroredVersions
from serendip.engine.workspace import Workspace
from serendip.jobs.relevance.versions import model_places, model_versions
from serendip.jobs.semantic_ids.versions import id_versions
from serendip.jobs.suggestions.build import query_versions
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.versions import Versions


def share_versions(workspace: Workspace) -> None:
    """Publish what this machine had built before it had a storage, where that has nothing yet.

    Raises:
        ArtefactError: a file of it is missing or altered.
        StorageError: the storage cannot be written to.
    """
    for versions in _shared(workspace):
        if versions.local_names():
            with exclusive_lock(versions.folder):
                versions.share()


def fetch_versions(workspace: Workspace) -> None:
    """Fetch the current versions that a storage has, where this machine lacks them.

    Raises:
        ArtefactError: one is damaged in the storage.
        StorageError: this machine knows none, and the storage cannot be reached.
    """
    for versions in _shared(workspace):
        versions.current(verify=False)


def _shared(workspace: Workspace) -> list[MirroredVersions]:
    """Versions of semantic IDs, suggested queries and relevance models, if a storage has them."""
    built: list[Versions] = [
        id_versions(workspace.semantic_ids),
        query_versions(workspace),
        *map(model_versions, model_places(workspace).values()),
    ]
    return [versions for versions in built if isinstance(versions, MirroredVersions)]
