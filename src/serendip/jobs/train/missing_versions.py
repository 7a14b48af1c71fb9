"""What the published generation was made with and this machine lacks.

With ``[storage]`` the generation may have come from another machine. The versions that three other
commands make do not come with it: a training here goes on without them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serendip.engine.artefacts.generations import open_current
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, NotTrainedError
from serendip.jobs.relevance.decisions import read_model_names
from serendip.jobs.relevance.versions import model_folder

_log = logging.getLogger(__name__)

_POINTER = "current"
"""File with the name of the current version, as ``Versions`` writes it."""


def warn_of_missing_versions(workspace: Workspace) -> None:
    """Log each folder of which the published generation has a version, and that has none here."""
    if not workspace.settings.storage.url:
        return
    try:
        generation = open_current(workspace.generations, verify=False)
    except (ArtefactError, NotTrainedError):
        return
    for folder in _name_folders(workspace, generation.manifest):
        if not (folder / _POINTER).is_file():
            _log.warning(
                "%s has no version, and %s was made with one: copy the folder from the machine "
                "that has it, or train there",
                folder,
                generation.name,
            )


def _name_folders(workspace: Workspace, manifest: Mapping[str, Any]) -> list[Path]:
    """Folders of the versions that a generation was made with."""
    folders = [model_folder(workspace, labels) for labels in read_model_names(manifest)]
    if manifest.get("semantic_ids", {}).get("version"):
        folders.append(workspace.semantic_ids)
    if "llm" in manifest.get("queries", {}).get("by_source", {}):
        folders.append(workspace.queries)
    return folders
