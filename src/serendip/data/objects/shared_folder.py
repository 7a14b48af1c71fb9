"""Objects in a folder that all machines mount, such as one of NFS.

Files appear by a rename. A small object that is replaced on a condition is a row of files
``<key>.<number>``, of which the one with the highest number counts: the next is made by a hard
link, which fails if another machine made it first. So no lock is needed, and none is left behind.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serendip.data.objects.object_store import ObjectStore, StoredValue
from serendip.errors import StorageError
from serendip.runtime.atomic_files import flush_folder, make_folder

_INCOMING = ".incoming"
_LEFTOVER_S = 24 * 3600.0
"""Age from which a file that never appeared belongs to a writer that was killed."""

_KEPT = 8
"""Earlier contents of a small object that stay, for readers that are just looking at them."""

_PART = 1 << 20
_TRIES = 10
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """Objects below a folder.

    Args:
        folder: made by the first write.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def within(self, folder: str) -> ObjectStore:
        """The objects below a folder of this place."""
        return SharedFolder(self.folder / folder)

    def read(self, key: str) -> StoredValue | None:
        """A small object; None if there is none."""
        with self._errors("read", key):
            number = self._newest(key)
            path = self.folder / (f"{key}.{number}" if number else key)
            try:
                content, written = path.read_bytes(), path.stat().st_mtime
            except FileNotFoundError:
                return None
        return StoredValue(content, str(number), written)

    def replace(self, key: str, content: bytes, tag: str | None) -> bool:
        """Write a small object by a link that nobody made yet; False = another came first."""
        number, target = int(tag or 0) + 1, self.folder / key
        with self._errors("written", key), self._incoming(key) as part:
            part.write_bytes(content)
            flush_folder(part)
            if not self._link(part, target.with_name(f"{target.name}.{number}")):
                return False
            if self._newest(key) - number >= _KEPT:  # there was one, which was removed since
                Path(f"{target}.{number}").unlink(missing_ok=True)
                return False
            for old in range(number - _KEPT, 0, -1):
                try:
                    Path(f"{target}.{old}").unlink()
                except FileNotFoundError:
                    break
        return True

    def upload(self, key: str, path: Path) -> None:
        """Copy a file, which appears whole."""
        target = self.folder / key
        with self._errors("written", key), self._incoming(key) as part:
            with path.open("rb") as source, part.open("wb") as stream:
                while chunk := source.read(_PART):
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            self._put(target, part.rename)

    def _link(self, part: Path, target: Path) -> bool:
        """Give a file a second name; False = another file has it."""
        try:
            self._put(target, partial(os.link, part))
        except FileExistsError:
            # NFS repeats a request whose answer was lost: then it is ours that is there.
            with suppress(FileNotFoundError):
                if part.samefile(target):
                    self._flush(target.parent)
                    return True
            return False
        return True

    def _put(self, target: Path, put: Callable[[Path], object]) -> None:
        """Give a file its name, on disk with all folders that lead to it.

        They are made, again if another machine removed one while it was empty.
        """
        for attempt in range(_TRIES):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                put(target)
                break
            except FileNotFoundError:
                if attempt == _TRIES - 1:
                    raise
        self._flush(target.parent)

    def _flush(self, folder: Path) -> None:
        """Wait until the names in a folder and in those above it are on disk."""
        while folder != self.folder:
            flush_folder(folder)
            folder = folder.parent
        flush_folder(folder)

    def stream(self, key: str) -> Iterator[bytes]:
        """The content of an object, part by part."""
        with self._errors("read", key, missing=True), (self.folder / key).open("rb") as stream:
            while chunk := stream.read(_PART):
                yield chunk

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of all objects whose keys begin with a prefix."""
        start, found = self.folder / prefix.rpartition("/")[0], {}
        with self._errors("listed", prefix):
            for folder, _, files in os.walk(start, onerror=_unless_missing):
                for path in (Path(folder, file) for file in files):
                    key = path.relative_to(self.folder).as_posix()
                    if key.startswith(prefix) and not key.startswith(_INCOMING):
                        with suppress(FileNotFoundError):  # removed in between
                            found[key] = path.stat().st_size
        return found

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, and folders that are empty then."""
        for key in keys:
            path = self.folder / key
            with self._errors("removed", key):
                path.unlink(missing_ok=True)
                with suppress(OSError):  # not empty yet
                    while (path := path.parent) != self.folder:
                        path.rmdir()

    def remove_parts(self, prefix: str) -> None:
        """Remove what killed uploads left of objects whose keys begin with a prefix."""
        with self._errors("removed", _INCOMING):
            for path in list((self.folder / _INCOMING).glob(f"{_part_name(prefix)}*")):
                path.unlink(missing_ok=True)

    def _newest(self, key: str) -> int:
        """Highest number of the files of a small object; 0 = there is none."""
        path = self.folder / key
        ends = (
            one.name.removeprefix(f"{path.name}.") for one in path.parent.glob(f"{path.name}.*")
        )
        return max((int(end) for end in ends if end.isdecimal()), default=0)

    @contextmanager
    def _incoming(self, key: str) -> Iterator[Path]:
        """A path on the same disk for what is not complete yet; nothing is left there."""
        folder = self.folder / _INCOMING
        make_folder(self.folder)
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _LEFTOVER_S:
                    path.unlink()
        part = folder / f"{_part_name(key)[:_LONGEST_NAME]}-{secrets.token_hex(8)}"
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _errors(self, done: str, key: str, missing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            raise StorageError(
                f"{self.folder / key} cannot be {done}: {error.strerror or error}.",
                "Check that the folder is mounted, has room and may be written to.",
            ) from None


def _part_name(key: str) -> str:
    """How the file of an object that is not complete begins."""
    return key.replace("/", "_")


def _unless_missing(error: OSError) -> None:
    """Raise whatever is no folder that was removed in between."""
    if not isinstance(error, FileNotFoundError):
        raise error
