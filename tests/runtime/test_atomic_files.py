import os
from pathlib import Path

import pytest

from serendip.errors import StorageError
from serendip.runtime.atomic_files import exclusive_lock, write_text


def test_the_name_of_a_new_folder_is_synced_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fsync, []

    def note(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "a" / "b"
    with exclusive_lock(folder):
        assert {*map(Path, synced)} == {tmp_path / "a", tmp_path}
    synced.clear()
    with exclusive_lock(folder):  # whoever made it may have been killed before the sync
        assert Path(synced[0]) == tmp_path / "a"


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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("longer", "ü"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]

    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/a\.txt cannot be written: "):
        write_text(tmp_path / "file" / "a.txt", "text")
