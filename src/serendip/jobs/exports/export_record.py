"""Record of an export: the database names a file with ids of users before its first byte exists.

The receipt of an erasure names exports that were begun before it (``engine.artefacts.erasure``).
"""

from __future__ import annotations

import os
from pathlib import Path

from serendip.data.store.store import Store
from serendip.data.store.tables.copies import DataCopy
from serendip.engine.workspace import Workspace


class ExportRecord:
    """The record of one export; made before anything of the export is read.

    Args:
        workspace: that is exported from.
        store: of its database.
        out: the file or folder.
    """

    def __init__(self, workspace: Workspace, store: Store, out: Path) -> None:
        path, folder = os.path.abspath(out), os.path.abspath(workspace.folder)
        is_inside = os.path.commonpath([path, folder]) == folder
        name = os.path.relpath(path, folder) if is_inside else path
        self._store = store
        self._export = DataCopy(name, store.log.mark().removals, store.max_version())
        store.exports.begin(self._export)

    def end(self) -> None:
        """Note that nothing is left there from before it was begun."""
        self._store.exports.end(self._export)
