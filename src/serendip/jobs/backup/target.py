"""Where one backup is written: a folder of its own, for its owner's eyes, or nothing.

A backup first puts a mark with a random name into the folder and looks whether it is alone. Of two
that begin at once at least one sees the other and gives up, on a disk and in an object store alike.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from serendip.errors import ConfigError
from serendip.jobs.backup.folder import BackupFolder, copy_stream
from serendip.runtime.versions import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator


class BackupTarget:
    """Writes a backup, and removes what it wrote, never more.

    Args:
        folder: to write to.
    """

    def __init__(self, folder: BackupFolder) -> None:
        self._folder = folder
        self._mark = f".writing-{secrets.token_hex(8)}"
        self._written: list[str] = []
        self._made: list[Path] = []

    def claim(self) -> None:
        """Take the folder, which must be empty or missing.

        Raises:
            ConfigError: something is in it, or somebody else is writing to it.
            OSError: it cannot be written to.
        """
        try:
            with self._create(self._mark):
                pass
            is_alone = self._folder.files().keys() == {self._mark}
        except BaseException:
            self.remove()
            raise
        if not is_alone:
            self.remove()
            raise ConfigError(
                f"{self._folder.name} is not empty.", "Give each backup a folder of its own."
            )

    def write(self, name: str, source: Path) -> tuple[int, str]:
        """Write a file; returns its size and SHA-256."""
        with source.open("rb") as stream, self._create(name) as out:
            return copy_stream(stream, out, source.stat().st_size)

    def write_manifest(self, text: str) -> None:
        """Write the manifest, last of all."""
        self._delete(self._mark)
        with self._create(MANIFEST) as out:
            out.write(text.encode())

    def remove(self) -> bool:
        """Remove what was written, and folders that were made for it; whether all of it is gone."""
        for name in list(self._written):
            with suppress(OSError):
                self._delete(name)
        for folder in reversed(self._made):
            with suppress(OSError):  # Somebody else has put something into it.
                folder.rmdir()
        return not self._written

    @contextmanager
    def _create(self, name: str) -> Iterator[BinaryIO]:
        path = f"{self._folder.path}/{name}"
        if self._folder.is_local:
            self._make_folders(Path(path).parent)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._written.append(name)
            with open(handle, "wb") as file:
                yield file
            return
        self._folder.fs.create_dir(os.path.dirname(path), recursive=True)
        self._written.append(name)
        with self._folder.fs.open_output_stream(path, compression=None) as out:
            yield cast(BinaryIO, out)

    def _make_folders(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700)
            self._made.append(one)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._folder.fs.delete_file(f"{self._folder.path}/{name}")
        self._written.remove(name)
