"""Files of a database in trouble: damaged, on a full disk, on a read-only one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from serendip.data.store.database import open_database


def damage_index(path: Path) -> None:
    """Alter the page of the index on item ids, which reading the items does not meet."""
    with closing(open_database(path)) as database, database.read() as connection:
        size = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        root = connection.exec_driver_sql(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_items_1'"
        ).scalar_one()
    with path.open("r+b") as stream:
        stream.seek(int(root) * size - 40)
        end = stream.read(40)
        stream.seek(-40, 1)
        stream.write(end.replace(b"i", b"j"))


def copy_to_serve(shop: Path, folder: Path) -> None:
    for name in ("serendip.toml", "serendip.db"):
        shutil.copy(shop / name, folder / name)
    shutil.copytree(shop / "generations", folder / "generations")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory; the test is skipped where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", os.fspath(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte on a disk."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as stream:
        size = 1 << 16
        while size:
            try:
                written = stream.write(bytes(size))
            except OSError:
                written = 0
            if written < size:
                size //= 2
    return path


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", os.fspath(folder)], check=True)
