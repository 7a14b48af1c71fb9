"""Fingerprint of a workspace: code, settings, imported files, seed and labels.

It tells whether a report is of this workspace; parts have fingerprints of their own
(``parts.plan``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import serendip
from serendip import __version__
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import read_import_digest
from serendip.jobs.suggestions.build import hash_written_queries
from serendip.runtime.atomic_files import hash_files


def compute_fingerprint(workspace: Workspace, seed: int) -> str:
    """Hash the code, settings, imported files, seed, generated texts and values, LLM-written
    queries and labels that a training reads. A report has no relevance filter, so none counts.

    Items and events that were posted after the import do not change the hash: a report stays valid
    for its generation while new data arrive.
    """
    settings = workspace.settings
    with workspace.open_store() as store:
        generated = [astuple(row) for row in store.generated.of_items()]
    parts = [
        *(hash_code(), settings.learned_from(), read_import_digest(workspace), seed, generated),
        *(hash_written_queries(workspace), hash_labels(workspace)),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_report(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The evaluation report in a file, if it is of a fingerprint."""
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return report if report.get("fingerprint") == fingerprint else None


@cache
def hash_code() -> str:
    """SHA-256 of the package's sources, its word lists and tables, and its lock files."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(serendip.__file__).parent
    kinds = (".py", ".lock", ".txt", ".toml")
    for path in sorted(file for file in package.rglob("*") if file.suffix in kinds):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def hash_labels(workspace: Workspace) -> str:
    """Hash of the files of labels that exist; empty without any."""
    names = workspace.settings.ranker.searches.labels
    paths = [path for path in (workspace.folder / name for name in names) if path.is_file()]
    return hash_files(paths) if paths else ""
