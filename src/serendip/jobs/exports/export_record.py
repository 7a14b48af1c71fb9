"""Record of an export: the database names a file with ids of users before its first byte exists.

The receipt of an erasure names the files from before (``engine.erasure``). Whoever is erased while
one is being written is left out of it before it gets its name, so that it is not from before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from serendip.data.store.store import Store
from serendip.data.store.tables.copies import DataCopy
from serendip.data.store.tables.erased_users import Erasures
from serendip.engine.workspace import Workspace
from serendip.runtime.atomic_files import open_parquet


class ExportRecord:
    """The record of one export; made before anything of the export is read.

    Args:
        workspace: that is exported from.
        store: of its database.
        out: the file or folder.
    """

    def __init__(self, workspace: Workspace, store: Store, out: Path) -> None:
        self._store, self._out = store, out
        self._path = place_of(workspace, out)
        self._erasures = store.erasures()
        self._export = self._at_present()
        store.exports.begin(self._export)

    def has_erased(self) -> bool:
        """Whether somebody was erased since it was begun."""
        return bool(self._store.erasures().since(self._erasures).by_digest)

    def end(self) -> None:
        """Note that all of it was read after it was begun."""
        self._store.exports.end(self._export)

    def finish(self, part: Path) -> None:
        """Note a whole file that has nobody who was erased, before it gets its name."""
        self._out.unlink(missing_ok=True)  # what it has from before ends before the note says so
        self.end()

    def finish_users(self, part: Path) -> None:
        """Leave whoever is erased by now out of a Parquet file with ``user_id``, and note it."""

        def keep(user_ids: Sequence[str], erased: Erasures) -> list[bool]:
            return [erased.find(user_id) is None for user_id in user_ids]

        self._finish(part, "user_id", keep)

    def finish_queries(self, part: Path, ignored: Sequence[str]) -> None:
        """Leave queries that the log has no more out of a Parquet file with ``query``.

        Args:
            part: the file.
            ignored: actions that do not count.
        """

        def keep(texts: Sequence[str], erased: Erasures) -> list[bool]:
            left = set(self._store.queries(ignored))
            return [text in left for text in texts]

        self._finish(part, "query", keep)

    def _finish(
        self, part: Path, column: str, keep: Callable[[Sequence[str], Erasures], list[bool]]
    ) -> None:
        while True:
            self._export, erasures = self._at_present(), self._store.erasures()
            erased = erasures.since(self._erasures)
            if not erased.by_digest:
                break
            _filter(part, column, lambda ids, erased=erased: keep(ids, erased))  # type: ignore[misc]
            self._erasures = erasures
        self.finish(part)

    def _at_present(self) -> DataCopy:
        store = self._store
        return DataCopy(self._path, store.log.mark().removals, store.max_version())


def place_of(workspace: Workspace, out: Path) -> str:
    """How the list of exports names a path."""
    path, folder = os.path.abspath(out), os.path.abspath(workspace.folder)
    is_inside = os.path.commonpath([path, folder]) == folder
    return os.path.relpath(path, folder) if is_inside else path


def _filter(path: Path, column: str, keep: Callable[[Sequence[str]], list[bool]]) -> None:
    """Write a Parquet file again, row group by row group, with the rows that are kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, open_parquet(path, file.schema_arrow) as out:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            out.write_table(table.filter(pa.array(keep(table[column].to_pylist()), pa.bool_())))
