"""``serendip import``: the users' files -> the store, in one transaction."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

from serendip.data.files.readers import read_events, read_items
from serendip.engine.workspace import Workspace

IMPORT_DIGEST = "import_digest"
"""Key of the store's meta table: what the last import was made from."""


def import_files(workspace: Workspace) -> dict[str, Any]:
    """Read both files and replace what was imported before; API data stays.

    Returns:
        ``items`` and ``events``: rows now in the database.

    Raises:
        DataError: a file, a column or a row is wrong; nothing is changed.
    """
    items = read_items(workspace.settings.items, workspace.folder)
    events = read_events(workspace.settings.events, workspace.folder)
    with closing(workspace.create_store()) as store:
        store.import_all(items, events)
        store.set_meta(IMPORT_DIGEST, digest_of_files(workspace))
        return {"items": store.count_items(), "events": store.count_events()}


def imported_digest(workspace: Workspace) -> str | None:
    """What the last import was made from; None where these files and settings are not imported."""
    if not workspace.database.exists():
        return None
    with closing(workspace.open_store()) as store:
        stored = store.meta(IMPORT_DIGEST)
    return stored if stored == digest_of_files(workspace) else None


def digest_of_files(workspace: Workspace) -> str:
    """SHA-256 over the files and the tables of the settings that say how to read them."""
    settings = workspace.settings
    digest = hashlib.sha256(settings.items.model_dump_json().encode())
    digest.update(settings.events.model_dump_json().encode())
    for name in (settings.items.path, settings.events.path):
        if name:
            digest.update(_file_digest(workspace.folder / name))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    if not path.is_file():
        return b"missing"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
