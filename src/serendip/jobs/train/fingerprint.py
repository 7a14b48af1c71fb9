"""A hash of everything that decides the numbers of a generation or report: the same hash, the same
numbers.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import astuple
from functools import cache
from pathlib import Path

import serendip
from serendip import __version__
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import imported_digest
from serendip.jobs.relevance.versions import current_model_name
from serendip.jobs.suggestions.build import written_digest


def fingerprint(workspace: Workspace, seed: int) -> str:
    """Hash of the code, settings, imported files, seed and versions that a training reads.

    Events and items that arrived through the API since the import do not change it: they take
    effect when ``serendip train`` is called, not when a report is looked up.
    """
    parts = {
        "code": code_digest(),
        "settings": workspace.settings.learned_from(),
        "import": imported_digest(workspace),
        "seed": seed,
        **_generated_texts(workspace),
        **_versions(workspace),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of the package's sources and of the locked weights."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(serendip.__file__).parent
    for path in sorted((*package.rglob("*.py"), *package.rglob("*.lock"))):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _versions(workspace: Workspace) -> dict[str, str]:
    """The relevance model, if a surface uses one, and queries that an LLM wrote."""
    surfaces = workspace.settings.all_surfaces().values()
    filters = any(surface.relevance_filter is not None for surface in surfaces)
    student = current_model_name(workspace.relevance) if filters else ""
    found = {"student": student, "queries": written_digest(workspace)}
    return {name: version for name, version in found.items() if version}


def _generated_texts(workspace: Workspace) -> dict[str, str]:
    """Hash of the generated texts in use; empty where there are none."""
    with closing(workspace.open_store()) as store:
        active = [astuple(text) for text in store.generated_texts.active()]
    digest = hashlib.sha256(json.dumps(active).encode()).hexdigest()
    return {"written": digest} if active else {}
