"""Files that belong to items: found inside the workspace, and nowhere else.

The path of an image or a sound is an ordinary attribute of an item. It comes from whoever wrote
the catalogue or posted the item, so it is never trusted: what lies outside the workspace, by
``..``, by an absolute path or through a link, is refused before anything of it is read. One bad
file spoils nothing but itself: it is named and left out, and its item counts as having none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import MediaEncoder, present_rows
from serendip.data.item import Item
from serendip.data.item_features import ModalityVectors
from serendip.errors import DataError
from serendip.runtime.progress import Progress

_FILES_AT_ONCE = 64
"""Files that a killed run may have to encode again."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not used.

    Args:
        item_id: of the item that names it.
        reason: why not, one sentence.
    """

    item_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MediaReport:
    """Which files of one modality can be used.

    Args:
        field: attribute that names them.
        named: items that name one.
        left_out: those of them whose file cannot be used, in order of the items.
    """

    field: str
    named: int
    left_out: tuple[LeftOut, ...]

    @property
    def message(self) -> str:
        """One sentence for people, loud where nothing at all can be used."""
        if not self.named:
            return f"no item names a file in `{self.field}`"
        if len(self.left_out) == self.named:
            return f"NONE of the {self.named:,} files that `{self.field}` names can be used"
        return (
            f"{len(self.left_out):,} of {self.named:,} files that `{self.field}` names cannot be "
            "used; these items count as having none"
        )

    @property
    def examples(self) -> tuple[str, ...]:
        """The first items without a usable file, each with the reason."""
        return tuple(f"item {one.item_id!r}: {one.reason}" for one in self.left_out[:_EXAMPLES])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "field": self.field,
            "named": self.named,
            "left_out": len(self.left_out),
            "message": self.message,
            "examples": list(self.examples),
        }


@dataclass(frozen=True, slots=True)
class Media:
    """One modality of a workspace beside text: what encodes it, and where its files are named.

    Args:
        encoder: reads the files.
        field: attribute that holds the path.
        folder: the workspace; paths are relative to it.
        max_bytes: larger files are not even looked into.
        open_file: reads one file as the encoder does, or raises ``DataError``.
    """

    encoder: MediaEncoder
    field: str
    folder: Path
    max_bytes: int
    open_file: Callable[[Path], object]

    def encode(
        self, items: Sequence[Item], cache: VectorCache, progress: Progress, name: str
    ) -> tuple[ModalityVectors, MediaReport]:
        """Vectors of the items' files, and which files were left out.

        Args:
            items: N.
            cache: of vectors.
            progress: follows the files.
            name: of the modality.

        Raises:
            ExtraMissing: a package that the encoder needs is not installed.
        """
        files, reasons = self._files(items)
        vectors, unreadable = cache.encode_readable(
            self.encoder, files, progress, f"{name} files", _FILES_AT_ONCE
        )
        present = present_rows(files)
        for row, reason in enumerate(unreadable):
            if reason:
                reasons[row], present[row] = reason, False
        return ModalityVectors(vectors, present), self._report(items, reasons)

    def check(self, items: Sequence[Item], progress: Progress) -> MediaReport:
        """Which files would be left out: each is opened, none is encoded.

        Raises:
            ExtraMissing: a package that reads them is not installed.
        """
        files, reasons = self._files(items)
        named = [(row, file) for row, file in enumerate(files) if file is not None]
        for row, file in progress.track(named, f"Reading {self.field}", len(named)):
            try:
                self.open_file(file)
            except DataError as error:
                reasons[row] = error.message
        return self._report(items, reasons)

    def _files(self, items: Sequence[Item]) -> tuple[list[Path | None], dict[int, str]]:
        """The file of each item, None where it has none to use; and by row why not."""
        found: list[Path | None] = []
        reasons: dict[int, str] = {}
        for row, item in enumerate(items):
            name = item.field_text(self.field).strip()
            try:
                found.append(self._file(name) if name else None)
            except DataError as error:
                found.append(None)
                reasons[row] = error.message
        return found, reasons

    def _file(self, name: str) -> Path:
        path = workspace_file(self.folder, name)
        try:
            size = path.stat().st_size
        except OSError as error:  # It has gone since it was found.
            raise DataError(f"{name[:80]!r} cannot be read: {error.strerror}.") from None
        if size > self.max_bytes:
            raise DataError(f"{name[:80]!r} has {size:,} bytes; {self.max_bytes:,} are allowed.")
        return path

    def _report(self, items: Sequence[Item], reasons: dict[int, str]) -> MediaReport:
        named = sum(bool(item.field_text(self.field).strip()) for item in items)
        left_out = [LeftOut(items[row].item_id, reasons[row]) for row in sorted(reasons)]
        return MediaReport(self.field, named, tuple(left_out))


def workspace_file(folder: Path, name: str) -> Path:
    """The regular file that a path relative to the workspace names, links followed.

    Raises:
        DataError: it lies outside the workspace, or is no file.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        is_inside = path.is_relative_to(root)
        is_file = is_inside and path.is_file()
    except (OSError, ValueError, RuntimeError):  # NUL bytes, loops of links, names too long.
        raise DataError(f"{name[:80]!r} is no path.") from None
    if not is_inside:
        raise DataError(f"{name[:80]!r} is outside the workspace.")
    if not is_file:
        raise DataError(f"{name[:80]!r} is no file in the workspace.")
    return path


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """A file's content, never more than ``max_bytes`` of it.

    Raises:
        DataError: it is larger, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > max_bytes:
        raise DataError(f"{path} is larger than {max_bytes:,} bytes.", "Raise `max_bytes`.")
    return data
