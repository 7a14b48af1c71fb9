from __future__ import annotations

from pathlib import Path

import pytest

from serendip.data.durable import alone, checksums, point_to, pointed_at, write_durably
from serendip.errors import StorageError


def test_a_pointer_says_the_last_name(tmp_path: Path) -> None:
    pointer = tmp_path / "current"
    assert pointed_at(pointer) == ""
    for name in ("v1", "v2"):
        point_to(pointer, name)
        assert pointed_at(pointer) == name
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with alone(folder), pytest.raises(StorageError, match="another process"), alone(folder):
        pass
    with alone(folder):
        pass


def test_checksums_see_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_durably(tmp_path / "a" / "b.txt", "one")
    write_durably(tmp_path / "manifest.json", "{}")
    before = checksums(tmp_path)
    assert list(before) == ["a/b.txt"]
    write_durably(tmp_path / "a" / "b.txt", "two")
    assert checksums(tmp_path) != before
