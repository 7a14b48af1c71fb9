from __future__ import annotations

from pathlib import Path

import pytest

from serendip.errors import StorageError
from serendip.runtime.atomic_files import exclusive_lock, write_synced


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with (
        exclusive_lock(folder),
        pytest.raises(StorageError, match="another process"),
        exclusive_lock(folder),
    ):
        pass
    with exclusive_lock(folder):
        pass


def test_a_written_file_has_the_last_text(tmp_path: Path) -> None:
    for text in ("longer", "ü"):
        write_synced(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == text
